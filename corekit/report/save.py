"""A picture of a set of samples, whatever they are."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.report.images import image_grid, image_pairs, is_image
from corekit.report.pictures import pairs_grid, point_cloud_grid
from corekit.report.scatter import scatter


def save_picture(
    samples: Tensor,
    path: Path,
    captions: Sequence[str] | None = None,
    data: DataSpec | None = None,
) -> Path | None:
    """Draw samples to a PNG; None if there is no picture of data of this shape.

    Shape: ``(S, C, H, W)`` images with 1, 3 or 4 channels, whose black and white ``data`` tell;
    ``(S, N, 3)`` point clouds; ``(S, 2)`` points in the plane, all together.
    """
    if is_image(tuple(samples.shape[1:])):
        return image_grid(samples, path, captions, data=data)
    if _is_cloud(samples.shape[1:]):
        return point_cloud_grid(samples, path, captions)
    if _is_point(samples.shape[1:]):
        return scatter({f"{len(samples)} samples": samples}, path)
    return None


def save_pairs(
    originals: Tensor, copies: Tensor, path: Path, data: DataSpec | None = None
) -> Path | None:
    """Draw examples and their reconstructions; None if there is no picture of such data."""
    if is_image(tuple(originals.shape[1:])):
        return image_pairs(originals, copies, path, data=data)
    if _is_cloud(originals.shape[1:]):
        return pairs_grid(originals, copies, path)
    if _is_point(originals.shape[1:]):
        return scatter({"originals": originals, "reconstructions": copies}, path)
    return None


def worth_drawing(event_shape: Shape) -> int:
    """How many samples make a picture, unless someone says so: points must be many."""
    if _is_point(event_shape):
        return 2000
    return 32 if is_image(tuple(event_shape)) else 8


def _is_cloud(event_shape: Shape) -> bool:
    return len(event_shape) == 2 and event_shape[-1] == 3


def _is_point(event_shape: Shape) -> bool:
    return tuple(event_shape) == (2,)
