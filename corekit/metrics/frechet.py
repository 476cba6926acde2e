r"""How far two sets of features lie apart: Fréchet and kernel distances, precision and recall."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from corekit.errors import ShapeError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    r"""Between Gaussians of the moments of two sets, ``(N, F)`` and ``(M, F)``: the FID.

    .. math:: |\mu_a - \mu_b|^2 + \mathrm{tr}\big(C_a + C_b - 2 (C_a^{1/2} C_b C_a^{1/2})^{1/2}\big)

    With few examples it is too large, by about a constant over their number: compare sets of one
    size. Covariances may be singular (fewer examples than features).

    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, eq. 6,
        https://arxiv.org/abs/1706.08500.
    """
    _check(a, b)
    mean = np.square(a.mean(0) - b.mean(0)).sum()
    c_a, c_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    values, axes = np.linalg.eigh(c_a)
    root = axes * np.sqrt(values.clip(0)) @ axes.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ c_b @ root).clip(0)).sum()
    return float(max(mean + np.trace(c_a) + np.trace(c_b) - 2 * cross, 0.0))


class KernelDistance(NamedTuple):
    """An estimate, and its standard error over blocks; None if there is one block."""

    value: float
    error: float | None


def kernel_distance(a: np.ndarray, b: np.ndarray, block: int = 1000) -> KernelDistance:
    r"""Squared maximum mean discrepancy with a cubic kernel: the KID. Unbiased, so it may be < 0.

    .. math:: k(x, y) = (x \cdot y / F + 1)^3

    The mean over disjoint blocks of at most ``block`` rows of each set; others are left out.

    Source: Bińkowski et al., Demystifying MMD GANs, ICLR 2018, section 4,
        https://arxiv.org/abs/1801.01401.
    """
    _check(a, b)
    size = min(block, len(a), len(b))
    count = min(len(a), len(b)) // size
    found = np.array(
        [_mmd(a[i * size : (i + 1) * size], b[i * size : (i + 1) * size]) for i in range(count)]
    )
    error = float(found.std(ddof=1) / np.sqrt(count)) if count > 1 else None
    return KernelDistance(float(found.mean()), error)


def precision_recall(real: np.ndarray, made: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Shares of samples within the data, and of data within the samples.

    A point lies within a set if it is nearer to one of its members than this one's k-th neighbour.

    Source: Kynkäänniemi et al., Improved Precision and Recall Metric, NeurIPS 2019, eq. 1-2,
        https://arxiv.org/abs/1904.06991.
    """
    _check(real, made)
    if min(len(real), len(made)) <= k:
        raise ShapeError(
            f"precision_recall: each set must have more than {k} rows, got {len(real)} and "
            f"{len(made)}."
        )
    return _within(made, real, k), _within(real, made, k)


def _within(points: np.ndarray, of: np.ndarray, k: int) -> float:
    """The share of the points that lie in some ball around a member, out to its k-th neighbour."""
    # The first neighbour is the point itself.
    radii = np.asarray(cKDTree(of).query(of, k + 1)[0])[:, -1]
    inside = np.zeros(len(points), dtype=bool)
    squares = np.square(of).sum(1)
    for start in range(0, len(points), 1024):
        part = points[start : start + 1024]
        apart = np.square(part).sum(1)[:, None] + squares - 2 * part @ of.T
        inside[start : start + 1024] = (apart.clip(0) <= np.square(radii) * (1 + 1e-9)).any(1)
    return float(inside.mean())


def _mmd(x: np.ndarray, y: np.ndarray) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n = len(x)
    own = sum((k.sum() - np.trace(k)) / (n * (n - 1)) for k in (kernel(x, x), kernel(y, y)))
    return float(own - 2 * kernel(x, y).mean())


def _check(a: np.ndarray, b: np.ndarray) -> None:
    fits = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[1]
    if not fits or min(len(a), len(b)) < 2:
        raise ShapeError(
            "frechet: two sets of features (N, F) and (M, F), of two rows at least, must be given, "
            f"got {a.shape} and {b.shape}."
        )
