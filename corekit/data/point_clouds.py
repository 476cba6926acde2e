"""Point clouds: how they are scaled, how points are drawn, and a split of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
import torch

from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Item, Split
from corekit.interfaces.records import Condition

ScaleMode = Literal["global_unit", "shape_unit", "shape_bbox", "shape_half", "shape_34", "none"]
SCALE_MODES: tuple[str, ...] = get_args(ScaleMode)

_SPREAD = {"shape_unit": 1.0, "shape_half": 0.5, "shape_34": 0.75}  # wanted standard deviation


def shift_and_scale(
    cloud: np.ndarray, mode: str, global_std: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The shift and scale that bring a cloud to its normal size: x' = (x - shift) / scale.

    ==============  ============================  ==================================
    mode            shift                         scale
    ==============  ============================  ==================================
    global_unit     mean of the cloud             std of all coordinates of a data set
    shape_unit      mean of the cloud             s
    shape_half      mean of the cloud             s / 0.5
    shape_34        mean of the cloud             s / 0.75
    shape_bbox      middle of the bounding box    half the longest side of the box
    none            0                             1
    ==============  ============================  ==================================

    with s the standard deviation (n - 1) of all coordinates of the cloud *before* it is centred,
    as the reference has it: a cloud far from the origin becomes smaller.

    Shape: cloud ``(N, D)``; shift ``(1, D)``, scale ``(1, 1)``, both float32.
    Raises: UsageError for another mode; DataError if the cloud has no extent.
    Source: luost26/diffusion-point-cloud, utils/dataset.py
    """
    if mode not in SCALE_MODES:
        raise UsageError(f"Scale: mode must be one of {', '.join(SCALE_MODES)}, got '{mode}'.")
    if mode == "none":
        return np.zeros((1, cloud.shape[1]), np.float32), np.ones((1, 1), np.float32)
    if mode == "shape_bbox":
        low, high = cloud.min(0, keepdims=True), cloud.max(0, keepdims=True)
        shift, scale = (low + high) / 2, float((high - low).max()) / 2
    else:
        shift = cloud.mean(0, dtype=np.float64, keepdims=True)
        if mode != "global_unit":
            scale = float(cloud.std(dtype=np.float64, ddof=1)) / _SPREAD[mode]
        elif global_std is None:
            raise UsageError("Scale: global_unit must be given the std of a data set, got None.")
        else:
            scale = global_std
    if not scale > 0:
        raise DataError(f"Scale: a cloud must have some extent, got scale {scale} in mode {mode}.")
    return shift.astype(np.float32), np.full((1, 1), scale, np.float32)


def coordinate_std(clouds: Iterable[np.ndarray]) -> float:
    """Standard deviation (n - 1) of all coordinates of many arrays, given one at a time."""
    count, mean, squares = 0, 0.0, 0.0
    for cloud in clouds:  # Chan's update: no difference of two large sums
        n, m = cloud.size, float(cloud.mean(dtype=np.float64))
        delta = m - mean
        squares += float(cloud.var(dtype=np.float64)) * n + delta**2 * count * n / (count + n)
        count, mean = count + n, mean + delta * n / (count + n)
    if count < 2:
        raise DataError(
            "Scale: global_unit needs training shapes, got none. Use scale: shape_unit."
        )
    return float((squares / (count - 1)) ** 0.5)


def draw_points(cloud: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Random points of a cloud, in random order, as a new array.

    Without replacement where the cloud has enough; else all of its points and then some again.

    Shape: cloud ``(N, D)`` -> ``(count, D)``
    """
    n = len(cloud)
    if count <= n:
        rows = rng.choice(n, count, replace=False)
    else:
        rows = np.concatenate([rng.permutation(n), rng.integers(n, size=count - n)])
    return cloud.take(rows, axis=0)


def first_points(cloud: np.ndarray, count: int) -> np.ndarray:
    """The first points of a cloud, from its start again if it has too few, as a new array."""
    return cloud.take(np.arange(count) % len(cloud), axis=0)


class CloudSplit(Split):
    """A split whose examples are point clouds. A subclass writes `_read`, `__len__` and `label`.

    Clouds are scaled by all of their points, then points are drawn: the size of a shape does not
    depend on the draw. Scaled clouds stay in memory while they fit in ``cache_bytes``.

    Args:
        points: Points per example.
        scale: One of `SCALE_MODES`.
        global_std: What global_unit divides by.
        resample: Draw random points at each `get`; else the first ones, every time the same.
        labels: Hand on the number of the category.
        cache_bytes: Most memory to keep clouds in, per process.
    """

    def __init__(
        self,
        points: int,
        *,
        scale: str = "shape_unit",
        global_std: float | None = None,
        resample: bool = True,
        labels: bool = False,
        cache_bytes: int = 256 * 2**20,
    ) -> None:
        self.points = points
        self.scale = scale
        self.global_std = global_std
        self.resample = resample
        self.labels = labels
        self.cache_bytes = cache_bytes
        self._cache: dict[int, np.ndarray] = {}
        self._cached_bytes = 0

    @abstractmethod
    def _read(self, index: int) -> np.ndarray:
        """The whole cloud ``(N, D)``, finite, unscaled. It may be a view: it is not written to."""

    @abstractmethod
    def label(self, index: int) -> int:
        """The number of the shape's category."""

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Points of shape ``index``, float32 ``(points, D)``."""
        cloud = self.cloud(index)
        if self.resample:
            points = draw_points(cloud, self.points, rng)
        else:
            points = first_points(cloud, self.points)
        condition = Condition(labels=torch.tensor(self.label(index))) if self.labels else None
        return Item(torch.from_numpy(points), condition)

    def raw(self, index: int) -> np.ndarray:
        """All points of shape ``index`` as they are stored, unscaled. Do not write to it."""
        return self._read(self._row(index))

    def cloud(self, index: int) -> np.ndarray:
        """All points of shape ``index``, scaled. Do not write to it: it is kept."""
        cached = self._cache.get(index)
        if cached is not None:
            return cached
        raw = self.raw(index)
        shift, scale = self._shift_and_scale(raw, index)
        cloud: np.ndarray = ((raw - shift) / scale).astype(np.float32, copy=False)
        if self._cached_bytes + cloud.nbytes <= self.cache_bytes:
            self._cache[index] = cloud
            self._cached_bytes += cloud.nbytes
        return cloud

    def shift_and_scale(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What brings shape ``index`` back to its stored size: x * scale + shift."""
        return self._shift_and_scale(self.raw(index), index)

    def _shift_and_scale(self, raw: np.ndarray, index: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            return shift_and_scale(raw, self.scale, self.global_std)
        except DataError as error:
            raise DataError(f"{error} It is shape {self.name(index)}.") from None

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"Shape {index} does not exist: the split has {len(self)}.")
        return index

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cache": {}, "_cached_bytes": 0}  # a worker fills its own
