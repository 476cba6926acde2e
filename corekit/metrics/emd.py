"""The earth mover's distance of two clouds, exact, and what is known of it without solving."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from torch import Tensor

from corekit.metrics.all_pairs import all_pairs, paired
from corekit.metrics.clouds import Clouds, check_equal_sizes, cloud_arrays
from corekit.metrics.distances import TreeCloud, mean_nearest, tree_cloud
from corekit.metrics.pair_distance import PairDistance

_ROUNDING = 1e-9  # relative: a bound may be rounded upwards, and must not lie above the distance


def emd(x: np.ndarray | Tensor, y: np.ndarray | Tensor, *, squared: bool = False) -> float:
    r"""Earth mover's distance of two clouds of equally many points, by optimal assignment.

    .. math:: EMD(x, y) = \min_\pi \frac1N \sum_i |x_i - y_{\pi(i)}|

    over all one-to-one matchings of the points. Exact: what papers print under this name is mostly
    one of the two approximations in `corekit.metrics.soft_matching`.

    Args:
        x: A cloud.
        y: A cloud with as many points.
        squared: Minimise and return the mean *squared* distance instead.

    Shape: x, y ``(N, D)``; time O(N^3) at worst, half a second at N = 2048.
    Raises: ShapeError if one has more points.
    """
    return float(pairwise_emd([x], [y], squared=squared)[0, 0])


def matching(
    x: np.ndarray | Tensor, y: np.ndarray | Tensor, *, squared: bool = False
) -> np.ndarray:
    """The partner in y of each point of x: int ``(N,)``.

    ``(x - y[matching(x, y)]).norm(dim=-1).mean()`` is the distance with its gradient.
    """
    a, b = cloud_arrays("EMD", [x, y])
    EMDPairs(squared=squared).check([a, b])
    return np.asarray(linear_sum_assignment(_costs(a, b, squared))[1])


def pairwise_emd(
    a: Clouds, b: Clouds | None = None, *, squared: bool = False, workers: int = 1
) -> np.ndarray:
    """Exact EMD of all pairs of clouds: ``(len(a), len(b))``, float64; of ``a`` without ``b``.

    Where only the minima of rows and columns are wanted, as in MMD, coverage and 1-NNA,
    `corekit.metrics.all_pairs.Pairs` gets them with fewer solutions.
    """
    return all_pairs(EMDPairs(squared=squared), a, b, workers=workers)


def paired_emd(a: Clouds, b: Clouds, *, squared: bool = False) -> np.ndarray:
    """Exact EMD of the clouds of ``a`` to their partners in ``b``: ``(len(a),)``."""
    return paired(EMDPairs(squared=squared), a, b)


class EMDPairs(PairDistance):
    r"""The distance of `emd`, with two lower bounds.

    In a matching each point goes at least to its nearest one, so

    .. math:: EMD \ge \max\bigl( mean_i \min_j d_{ij},\ mean_j \min_i d_{ij} \bigr)

    which k-d trees give (`bounds`). With the distances at hand, u_i = \min_j d_ij and
    v_j = \min_i (d_ij - u_i) >= 0 never exceed d_ij together, so that their means are a better one
    by duality, mean u + mean v; so is the same with x and y exchanged (`unless_above`).

    Args:
        squared: Of squared distances.
    """

    prunes = True

    def __init__(self, *, squared: bool = False) -> None:
        self.squared = squared
        self.name = "emd_squared" if squared else "emd"
        self.emd = f"exact, mean {'squared ' if squared else ''}distance"
        self.definition = f"EMD by optimal assignment, mean {'squared ' if squared else ''}distance"

    def check(self, clouds: Sequence[np.ndarray]) -> None:
        """All clouds must have equally many points."""
        check_equal_sizes("EMD", clouds)

    def prepare(self, cloud: np.ndarray) -> TreeCloud:
        """The cloud with its k-d tree, for the bounds."""
        return tree_cloud(cloud)

    def row(self, x: TreeCloud, others: Sequence[TreeCloud]) -> np.ndarray:
        """From one cloud to several, ``(len(others),)``."""
        return np.array([_solve(_costs(x.points, y.points, self.squared)) for y in others])

    def bounds(self, x: TreeCloud, others: Sequence[TreeCloud]) -> np.ndarray:
        """The bound by nearest points, ``(len(others),)``."""
        return np.maximum(*mean_nearest(x, others, squared=self.squared)) * (1 - _ROUNDING)

    def unless_above(self, x: TreeCloud, y: TreeCloud, best: float) -> tuple[float, bool]:
        """The distance, unless the better bound lies above ``best``."""
        costs = _costs(x.points, y.points, self.squared)
        bound = max(_dual(costs), _dual(costs.T)) * (1 - _ROUNDING)
        return (bound, False) if bound > best else (_solve(costs), True)


def _costs(x: np.ndarray, y: np.ndarray, squared: bool) -> np.ndarray:
    return np.asarray(cdist(x, y, "sqeuclidean" if squared else "euclidean"))


def _solve(costs: np.ndarray) -> float:
    return float(costs[linear_sum_assignment(costs)].mean())


def _dual(costs: np.ndarray) -> float:
    """Value of a feasible point of the dual problem."""
    u = costs.min(1)
    return float(u.mean() + (costs - u[:, None]).min(0).mean())
