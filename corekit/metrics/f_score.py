"""F-score of reconstructed clouds: which share of the points is where it should be."""

from __future__ import annotations

import numpy as np

from corekit.errors import ShapeError, UsageError
from corekit.metrics.clouds import Clouds, cloud_arrays
from corekit.metrics.distances import tree_cloud


def paired_f_score(
    a: Clouds, b: Clouds, *, threshold: float = 0.001, squared: bool = True
) -> np.ndarray:
    r"""F-scores of the clouds of ``a`` against their partners in ``b``: ``(len(a),)``, 0 to 1.

    .. math:: F = 2 P R / (P + R)

    with P the share of the points of the first cloud that lie nearer than the threshold to the
    second, and R the share of the second's near the first; 0 if both are 0.

    Args:
        a: Clouds ``(N_i, D)``.
        b: As many clouds, perhaps of other sizes.
        threshold: What "near" is.
        squared: Compare it with the *squared* distance, as PVD does: 0.001 is then a distance of
            0.032. Knapitsch et al. compare the distance.

    Source: Knapitsch et al., Tanks and Temples, ACM Transactions on Graphics 2017
    """
    if not threshold > 0:
        raise UsageError(f"FScore: threshold must be above 0, got {threshold}.")
    if len(a) != len(b):
        raise ShapeError(f"FScore: pairs must be complete, got {len(a)} and {len(b)} clouds.")
    first = cloud_arrays("FScore", a)
    second = cloud_arrays("FScore", b, dimensions=first[0].shape[1])
    scores, power = [], 2 if squared else 1
    for x, y in zip(map(tree_cloud, first), map(tree_cloud, second), strict=True):
        precision = float(np.mean(y.tree.query(x.points)[0] ** power < threshold))
        recall = float(np.mean(x.tree.query(y.points)[0] ** power < threshold))
        both = precision + recall
        scores.append(2 * precision * recall / both if both else 0.0)
    return np.array(scores)
