"""How near reconstructed images are to their originals: MSE, PSNR, SSIM."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.dataset import Figure, Metric


class Reconstruction(Metric):
    r"""Mean squared error, peak signal-to-noise ratio and structural similarity.

    .. math:: PSNR = 10 \log_{10} (r^2 / MSE), \quad \text{mean over the images}

    with r the range from black to white. The reference ``mean_image`` is the same figure of the
    mean training image in place of every reconstruction. SSIM is of images alone.

    Args:
        data_range: Black and white in the data.

    Shape: reconstructions and reference ``(R, ...)``; for SSIM ``(R, C, H, W)``.

    Source: Wang et al., Image Quality Assessment, IEEE Trans. Image Processing 13(4), 2004, eq. 13.
    """

    needs = "reconstructions"

    def __init__(self, *, data_range: tuple[float, float] = (-1.0, 1.0)) -> None:
        low, high = data_range
        if not high > low:
            raise UsageError(
                f"Reconstruction: data_range must be (black, white), got {tuple(data_range)}."
            )
        self.range = high - low

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """The figures."""
        made, truth = samples.double(), reference.double()
        middle = train.double().mean(0, keepdim=True).expand_as(truth)
        told = {"examples": len(truth), "range": self.range}
        scores = {
            "mse": (lambda x: mse(x, truth).mean().item(), "lower"),
            "psnr": (lambda x: psnr(x, truth, self.range).mean().item(), "higher"),
        }
        if truth.ndim == 4 and min(truth.shape[2:]) >= 3:
            scores["ssim"] = (lambda x: ssim(x, truth, self.range).mean().item(), "higher")
        return {
            name: Figure(score(made), None, {"mean_image": score(middle)}, told, better)
            for name, (score, better) in scores.items()
        }


def mse(made: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error of each row, ``(B,)``, squared data units."""
    return (made - truth).square().flatten(1).mean(1)


def psnr(made: Tensor, truth: Tensor, data_range: float) -> Tensor:
    """Peak signal-to-noise ratio of each row, ``(B,)``, dB; 100 at most."""
    return (10 * (data_range**2 / mse(made, truth).clamp(min=1e-30)).log10()).clamp(max=100.0)


def ssim(made: Tensor, truth: Tensor, data_range: float, *, pad: bool = False) -> Tensor:
    r"""Structural similarity of each image, ``(B,)``, 1 for equal ones.

    .. math:: \frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}
        {(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}, \qquad
        c_1 = (0.01 r)^2,\; c_2 = (0.03 r)^2

    in a Gaussian window of 11 pixels and standard deviation 1.5 (of smaller images, as many as they
    have), mean over places and channels.

    Args:
        made: ``(B, C, H, W)``.
        truth: The same shape.
        data_range: r.
        pad: Let the window reach over the border, where there are zeros.

    Raises:
        ShapeError: If these are no images.
    """
    if made.ndim != 4 or made.shape != truth.shape:
        raise ShapeError(
            "ssim: both must be images (B, C, H, W) of one shape, got "
            f"{tuple(made.shape)} and {tuple(truth.shape)}."
        )
    size = min(11, *(side - 1 + side % 2 for side in made.shape[2:]))
    window = _window(size, made)

    def mean(x: Tensor) -> Tensor:
        flat = x.reshape(-1, 1, *x.shape[2:])
        return conv2d(flat, window, padding=size // 2 if pad else 0)

    a, b = mean(made), mean(truth)
    var_a, var_b = mean(made.square()) - a.square(), mean(truth.square()) - b.square()
    both = mean(made * truth) - a * b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    found = (2 * a * b + c1) * (2 * both + c2)
    found = found / ((a.square() + b.square() + c1) * (var_a + var_b + c2))
    return found.reshape(
        len(made), math.prod(made.shape[1:2]) * found.shape[2] * found.shape[3]
    ).mean(1)


def _window(size: int, like: Tensor) -> Tensor:
    x = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2
    line = torch.exp(-x.square() / (2 * 1.5**2))
    line = line / line.sum()
    return (line[:, None] * line)[None, None]
