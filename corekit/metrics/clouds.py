"""Point clouds as the distances want them: float64 arrays that were looked at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from corekit.errors import DataError, ShapeError

Cloud = np.ndarray | Tensor
Clouds = Sequence[np.ndarray] | Sequence[Tensor] | Sequence[Cloud] | np.ndarray | Tensor


def cloud_array(cloud: np.ndarray | Tensor) -> np.ndarray:
    """A cloud in float64, on the CPU."""
    array = cloud.detach().cpu().numpy() if isinstance(cloud, Tensor) else cloud
    return np.asarray(array, np.float64)


def cloud_arrays(who: str, clouds: Clouds, *, dimensions: int | None = None) -> list[np.ndarray]:
    """Clouds ``(N_i, D)`` in float64.

    Args:
        who: Named in errors.
        clouds: At least one; they may differ in size.
        dimensions: D, if another set has it already.

    Raises:
        ShapeError: If there is no cloud, or one that has no points or another D.
        DataError: If a coordinate is not finite.
    """
    arrays = [cloud_array(cloud) for cloud in clouds]
    if not arrays:
        raise ShapeError(f"{who}: there must be a cloud, got none.")
    wanted = dimensions or arrays[0].shape[-1]
    for i, cloud in enumerate(arrays):
        if cloud.ndim != 2 or cloud.shape[1] != wanted or not len(cloud):
            raise ShapeError(
                f"{who}: cloud {i} must have shape (points, D) with the D of the others, "
                f"got {cloud.shape}."
            )
        if not np.isfinite(cloud).all():
            raise DataError(f"{who}: cloud {i} must hold finite numbers, got NaN or infinity.")
    return arrays


def check_equal_sizes(who: str, clouds: Sequence[np.ndarray]) -> None:
    """A matching is one to one: refuse clouds that differ in size."""
    sizes = sorted({len(cloud) for cloud in clouds})
    if len(sizes) > 1:
        raise ShapeError(
            f"{who}: clouds must have equally many points, got {sizes[0]} and {sizes[-1]}. "
            "A matching is one to one: draw as many points of each."
        )
