"""Chamfer distances between point clouds, exact in float64."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from torch import Tensor

from corekit.metrics.all_pairs import all_pairs, paired
from corekit.metrics.clouds import Clouds
from corekit.metrics.pair_distance import PairDistance


def chamfer(x: np.ndarray | Tensor, y: np.ndarray | Tensor) -> float:
    r"""Chamfer distance of two clouds, of any two sizes.

    .. math:: CD(x, y) = \frac1{|x|} \sum_{p \in x} \min_{q \in y} |p - q|^2
                       + \frac1{|y|} \sum_{q \in y} \min_{p \in x} |p - q|^2

    Squared Euclidean distances, the sum (not the mean) of both directions: the form of PointFlow,
    diffusion-point-cloud, PVD and LION. `corekit.metrics.torch_chamfer` has it with gradients.

    Shape: x ``(N, D)``, y ``(M, D)``
    Source: Fan et al., A Point Set Generation Network, CVPR 2017, https://arxiv.org/abs/1612.00603
    """
    return float(pairwise_chamfer([x], [y])[0, 0])


def pairwise_chamfer(a: Clouds, b: Clouds | None = None, *, workers: int = 1) -> np.ndarray:
    """Chamfer distances of all pairs of clouds: ``(len(a), len(b))``, float64.

    A k-d tree per cloud answers for the points of the others. Without ``b``, of ``a`` with itself:
    symmetric, zeros on the diagonal.

    Args:
        a: Clouds ``(N_i, D)``, not necessarily of one size.
        b: Other clouds, or None for ``a`` itself.
        workers: Threads.
    """
    return all_pairs(ChamferPairs(), a, b, workers=workers)


def paired_chamfer(a: Clouds, b: Clouds) -> np.ndarray:
    """Chamfer distances of the clouds of ``a`` to their partners in ``b``: ``(len(a),)``."""
    return paired(ChamferPairs(), a, b)


class TreeCloud(NamedTuple):
    """The points of a cloud in the order of its k-d tree, where a point follows a near one."""

    points: np.ndarray
    tree: cKDTree


def tree_cloud(cloud: np.ndarray) -> TreeCloud:
    """A cloud ``(N, D)`` with its tree."""
    tree = cKDTree(cloud)
    return TreeCloud(cloud[tree.indices], tree)


def mean_nearest(
    x: TreeCloud, others: Sequence[TreeCloud], *, squared: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Mean distances to the nearest point: from x to each of the others, and from these to x."""
    power = 2 if squared else 1
    sizes = np.array([len(other.points) for other in others])
    there = np.array([np.mean(y.tree.query(x.points)[0] ** power) for y in others])
    nearest, _ = x.tree.query(np.concatenate([y.points for y in others]))  # one call for all
    return there, np.add.reduceat(nearest**power, sizes.cumsum() - sizes) / sizes


class ChamferPairs(PairDistance):
    """The Chamfer distance of `chamfer`."""

    name = "chamfer"
    definition = "Chamfer, squared, sum of both directions"

    def prepare(self, cloud: np.ndarray) -> TreeCloud:
        """The cloud with its k-d tree."""
        return tree_cloud(cloud)

    def row(self, x: TreeCloud, others: Sequence[TreeCloud]) -> np.ndarray:
        """From one cloud to several, ``(len(others),)``."""
        there, back = mean_nearest(x, others, squared=True)
        return there + back
