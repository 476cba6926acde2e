"""A picture of a set of samples, whatever they are."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from corekit.data_spec import Shape
from corekit.report.pictures import pairs_grid, point_cloud_grid
from corekit.report.scatter import scatter


def save_picture(samples: Tensor, path: Path, captions: Sequence[str] | None = None) -> Path | None:
    """Draw samples to a PNG; None if there is no picture of data of this shape.

    Shape: ``(S, N, 3)`` point clouds, one by one; ``(S, 2)`` points in the plane, all together.
    """
    if _is_cloud(samples.shape[1:]):
        return point_cloud_grid(samples, path, captions)
    if _is_point(samples.shape[1:]):
        return scatter({f"{len(samples)} samples": samples}, path)
    return None


def save_pairs(originals: Tensor, copies: Tensor, path: Path) -> Path | None:
    """Draw examples and their reconstructions; None if there is no picture of such data."""
    if _is_cloud(originals.shape[1:]):
        return pairs_grid(originals, copies, path)
    if _is_point(originals.shape[1:]):
        return scatter({"originals": originals, "reconstructions": copies}, path)
    return None


def worth_drawing(event_shape: Shape) -> int:
    """How many samples make a picture, unless someone says so: points must be many."""
    return 2000 if _is_point(event_shape) else 8


def _is_cloud(event_shape: Shape) -> bool:
    return len(event_shape) == 2 and event_shape[-1] == 3


def _is_point(event_shape: Shape) -> bool:
    return tuple(event_shape) == (2,)
