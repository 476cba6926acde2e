"""Scores that tell examples of other data from examples of those a model was trained on.

A density model may find simpler pictures than those it was trained on more likely than these, so
its likelihood alone is no such score. Every score here is the higher, the stranger an example is.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from corekit.errors import UsageError

_MODES = (1, 3, 4)  # channels that a PNG has


def typicality(nll: np.ndarray, entropy: float, batch: int = 1) -> np.ndarray:
    r"""How far the mean code length of a batch is from the entropy.

    .. math:: \Big| \frac1M \sum_{m=1}^M -\log p(x_m) - \hat H \Big|

    Nearly all of a sample of p lies where this is small, however likely other places are. Batches
    are rows one after another; what is left over at the end is not scored.

    Args:
        nll: -log p(x) of each example, nats ``(N,)``.
        entropy: An estimate of the entropy of p: the mean of -log p over training examples.
        batch: M.

    Shape: ``(N // M,)``
    Source: Nalisnick et al., Detecting Out-of-Distribution Inputs to Deep Generative Models Using
        Typicality, 2019, eq. 5, https://arxiv.org/abs/1906.02994.
    """
    if not 1 <= batch <= len(nll):
        raise UsageError(
            f"Typicality: a batch must have 1 to {len(nll)} examples, as many as there are, "
            f"got {batch}."
        )
    whole = nll[: len(nll) // batch * batch].reshape(-1, batch)
    deviations: np.ndarray = np.abs(whole.mean(1) - entropy)
    return deviations


def likelihood_ratio(nll: np.ndarray, background: np.ndarray) -> np.ndarray:
    r"""How much less likely each example is than under a model of what all such data share.

    .. math:: \log p_{background}(x) - \log p(x)

    Args:
        nll: -log p(x), nats ``(N,)``.
        background: The same under a model that was trained on noisy or on more general data; or
            the length of a code of x, nats.

    Shape: ``(N,)``
    Source: Ren et al., Likelihood Ratios for Out-of-Distribution Detection, NeurIPS 2019, eq. 3,
        https://arxiv.org/abs/1906.02845; with the length of a code: Serra et al., Input Complexity
        and Out-of-distribution Detection with Likelihood-based Generative Models, ICLR 2020, eq. 1,
        https://arxiv.org/abs/1909.11480.
    """
    difference: np.ndarray = nll - background
    return difference


def png_nats(levels: np.ndarray) -> np.ndarray:
    """Length of each image as a PNG, in nats, headers and all: an upper bound of its complexity.

    Shape: levels ``(N, C, H, W)``, uint8, C being 1, 3 or 4; ``(N,)``.
    """
    if levels.dtype != np.uint8 or levels.ndim != 4 or levels.shape[1] not in _MODES:
        raise UsageError(
            "png_nats: levels must be uint8 of shape (images, 1 or 3 or 4, height, width), got "
            f"{levels.dtype} {levels.shape}."
        )
    lengths = []
    for image in levels.transpose(0, 2, 3, 1):
        file = io.BytesIO()
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture.save(file, format="PNG", optimize=True)
        lengths.append(file.tell())
    return np.array(lengths) * 8 * np.log(2)
