"""Sets of clouds, made ready to be compared."""

import os
from collections import OrderedDict

import numpy as np
from torch import Tensor

from corekit.data.point_clouds import draw_points, shift_and_scale
from corekit.errors import DataError
from corekit.metrics.all_pairs import Pairs
from corekit.metrics.kept import content_key
from corekit.metrics.pair_distance import PairDistance

Arrays = list[np.ndarray]

_MATRICES = 8  # a comparison of samples, training shapes and blobs with a reference has seven
_shared: OrderedDict[str, Pairs] = OrderedDict()


def numpy_of(clouds: Tensor | np.ndarray) -> np.ndarray:
    """Clouds as an array, on the CPU."""
    return clouds.detach().cpu().numpy() if isinstance(clouds, Tensor) else clouds


def ready(
    clouds: Tensor | np.ndarray, count: int, normalise: str, rng: np.random.Generator
) -> Arrays:
    """Each cloud normalised by all of its points, then ``count`` of these."""
    prepared = []
    for cloud in numpy_of(clouds):
        shift, scale = shift_and_scale(cloud, normalise)
        prepared.append(draw_points((cloud - shift) / scale, count, rng))
    return prepared


def blobs(clouds: Tensor, count: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian cloud with the mean and covariance of each cloud: no shape but the extent."""
    drawn = [
        rng.multivariate_normal(cloud.mean(0), np.cov(cloud.T), count, method="svd")
        for cloud in numpy_of(clouds).astype(float)
    ]
    return np.stack(drawn)


def check_sizes(who: str, least: int, **sets: Tensor) -> None:
    """Refuse sets that are too small to be compared."""
    for name, clouds in sets.items():
        if len(clouds) < least:
            raise DataError(
                f"{who}: there must be at least {least} {name.replace('_', ' ')}, "
                f"got {len(clouds)}."
            )


def shared_pairs(
    distance: PairDistance,
    a: Arrays,
    b: Arrays | None = None,
    *,
    cache: str | os.PathLike[str] | None,
    workers: int,
) -> Pairs:
    """The distances of two sets, measured once for all metrics that ask for them.

    The last few matrices are remembered by the clouds they are of, so that 1-NNA, coverage and MMD
    of one evaluation share them, and so do ceiling and floor of all evaluations of a run.
    """
    place = "" if cache is None else os.fspath(cache)
    key = place + content_key(distance.name, [a] if b is None else [a, b])
    if key not in _shared:
        _shared[key] = Pairs(distance, a, b, cache=cache, workers=workers)
    _shared.move_to_end(key)
    while len(_shared) > _MATRICES:
        _shared.popitem(last=False)
    return _shared[key]
