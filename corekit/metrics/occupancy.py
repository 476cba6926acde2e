"""Where the points of a set of clouds are, all together: the JSD between two sets."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from corekit.errors import ShapeError, UsageError
from corekit.metrics.clouds import Clouds, cloud_arrays

RESOLUTION = 28

_EDGE = 1e-6  # a box that was scaled in float32 may lie this far out


class Occupancy(NamedTuple):
    """How often each cell of the grid was hit.

    Attributes:
        counts: Points in each cell, int ``(cells,)``.
        entropy: Mean over the cells of the entropy, in nats, of "a cloud has a point in this cell".
        outside: Share of the points that lie outside the cube and were counted in its border cells.
    """

    counts: np.ndarray
    entropy: float
    outside: float


def jsd(p: np.ndarray, q: np.ndarray) -> float:
    r"""Jensen-Shannon divergence of two histograms, in bits: 0 equal, 1 without a common cell.

    .. math:: JSD = H((P + Q) / 2) - (H(P) + H(Q)) / 2

    Source: Achlioptas et al., Learning Representations and Generative Models for 3D Point Clouds,
        ICML 2018, section 3
    """
    if p.shape != q.shape or not p.sum() or not q.sum():
        raise ShapeError(
            "JSD: the histograms must have the same cells and some counts, "
            f"got {p.shape} and {q.shape} with {p.sum()} and {q.sum()}."
        )
    first, second = p / p.sum(), q / q.sum()
    return _bits((first + second) / 2) - (_bits(first) + _bits(second)) / 2


def occupancy(clouds: Clouds, *, scale: float, resolution: int = RESOLUTION) -> Occupancy:
    """Counts of the points of all clouds in the cells of a ball.

    The cells are those of a lattice of ``resolution`` points per axis from -1/2 to 1/2 whose
    centres lie in the ball of radius 1/2: 10,144 of 28^3. A point counts in the nearest one, so
    all that lies outside is moved to the border.

    Args:
        clouds: Clouds ``(N_i, 3)``.
        scale: Multiplies every coordinate first: 1/2 for clouds in [-1, 1]. The reference of
            diffusion-point-cloud feeds such clouds with 1, and most points end on the border.
        resolution: Lattice points per axis.
    """
    if not scale > 0 or resolution < 2:
        raise UsageError(
            f"JSD: scale must be above 0 and resolution at least 2, got {scale} and {resolution}."
        )
    scaled = [cloud * scale for cloud in cloud_arrays("JSD", clouds, dimensions=3)]
    cells = [_cells(cloud, resolution) for cloud in scaled]
    total = _lattice(resolution).tree.n
    hit = np.concatenate([np.unique(cell) for cell in cells])
    share = np.bincount(hit, minlength=total) / len(cells)
    return Occupancy(
        np.bincount(np.concatenate(cells), minlength=total),
        float(_entropy_of_coin(share).mean()),
        float(np.mean([(np.abs(cloud) > 0.5 + _EDGE).any(1).mean() for cloud in scaled])),
    )


class _Lattice(NamedTuple):
    """The centres in the ball, in the order x, y, z, and the number of each; -1 outside it."""

    tree: cKDTree
    numbers: np.ndarray


def _cells(cloud: np.ndarray, resolution: int) -> np.ndarray:
    """The nearest centre of each point: by rounding, where that one is in the ball."""
    lattice = _lattice(resolution)
    place = np.rint((cloud + 0.5) * (resolution - 1)).clip(0, resolution - 1).astype(int)
    cells = lattice.numbers[tuple(place.T)]
    outside = cells < 0
    cells[outside] = lattice.tree.query(cloud[outside])[1]
    return cells


@lru_cache(maxsize=4)
def _lattice(resolution: int) -> _Lattice:
    axis = np.linspace(-0.5, 0.5, resolution)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    inside = np.linalg.norm(grid, axis=1) <= 0.5
    numbers = np.where(inside, inside.cumsum() - 1, -1).reshape((resolution,) * 3)
    return _Lattice(cKDTree(grid[inside]), numbers)


def _bits(p: np.ndarray) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log2(positive)).sum())


def _entropy_of_coin(p: np.ndarray) -> np.ndarray:
    """In nats, 0 at 0 and 1."""
    inside = (p > 0) & (p < 1)
    q = np.where(inside, p, 0.5)
    return np.where(inside, -q * np.log(q) - (1 - q) * np.log(1 - q), 0.0)
