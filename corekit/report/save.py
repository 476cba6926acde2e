"""A picture of a set of samples, whatever they are."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.errors import UsageError
from corekit.report.images import image_grid, image_pairs, is_image, to_pixels
from corekit.report.pictures import pairs_grid, point_cloud_grid
from corekit.report.scatter import scatter


def save_picture(
    samples: Tensor,
    path: Path,
    captions: Sequence[str] | None = None,
    data: DataSpec | None = None,
    log_density: Callable[[Tensor], Tensor] | None = None,
) -> Path | None:
    """Draw samples to a PNG; None if there is no picture of data of this shape.

    Shape: ``(S, C, H, W)`` images with 1, 3 or 4 channels, whose black and white ``data`` tell;
    ``(S, N, 3)`` point clouds; ``(S, 2)`` points in the plane, all together, beside the density
    that they were drawn from where its logarithm is given.
    """
    if is_image(tuple(samples.shape[1:])):
        return image_grid(samples, path, captions, data=data)
    if _is_cloud(samples.shape[1:]):
        return point_cloud_grid(samples, path, captions)
    if _is_point(samples.shape[1:]):
        return scatter({f"{len(samples)} samples": samples}, path, log_density=log_density)
    return None


def save_rows(rows: Mapping[str, Tensor], path: Path, data: DataSpec | None = None) -> Path | None:
    """Draw sets of as many samples, one below the other; None if there is no picture of such data.

    The name of a row stands below its first sample; points in the plane have a panel for each name.
    """
    first = next(iter(rows.values()))
    if _is_point(first.shape[1:]):
        return scatter(rows, path)
    captions = [text for name in rows for text in (name, *[""] * (len(first) - 1))]
    return save_grid(torch.cat(list(rows.values())), path, len(first), captions, data)


def save_grid(
    samples: Tensor,
    path: Path,
    columns: int,
    captions: Sequence[str] | None = None,
    data: DataSpec | None = None,
) -> Path | None:
    """Draw images or clouds in rows of so many; None if the samples are neither."""
    if is_image(tuple(samples.shape[1:])):
        return image_grid(samples, path, captions, columns, data=data)
    if _is_cloud(samples.shape[1:]):
        return point_cloud_grid(samples, path, captions, columns)
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


def save_completions(samples: Tensor, points: Tensor, mask: Tensor, path: Path) -> Path | None:
    """Draw clouds and, below each, the points that were given; None if they are no clouds in space.

    Shape: samples ``(S, N, 3)``, points ``(S, K, 3)``, mask ``(S, K)``, True where one is given.
    """
    if not _is_cloud(samples.shape[1:]):
        return None
    given = [row[seen] for row, seen in zip(points, mask, strict=True)]
    return pairs_grid(list(samples), given, path, ("completion", "given"))


def save_npz(samples: Tensor, labels: Tensor | None, path: Path, data: DataSpec) -> Path:
    """Write images as evaluation suites read them: ``arr_0`` uint8 ``(S, H, W, C)``, 3 for grey.

    Labels, if there are any, are ``arr_1`` ``(S,)``. Values are rounded to the nearest of 256
    levels.

    Raises:
        UsageError: If the samples are no images.
    """
    if not is_image(tuple(samples.shape[1:])):
        raise UsageError(f"npz: samples must be images, got shape {tuple(samples.shape[1:])}.")
    pixels = to_pixels(samples, data)
    arrays = [np.stack([pixels] * 3, -1) if pixels.ndim == 3 else pixels]
    if labels is not None:
        arrays.append(labels.cpu().numpy())
    np.savez(path, *arrays)
    return path


def with_ending(path: Path, ending: str) -> Path:
    """A path with an ending behind its name, whatever dots the name has."""
    return path.with_name(path.name + ending)


def worth_drawing(event_shape: Shape, rows: int = 1) -> int:
    """How many samples make a picture, unless someone says so: points must be many.

    Args:
        event_shape: Of a sample.
        rows: How many sets of so many are drawn one below the other.
    """
    if _is_point(event_shape):
        return 2000
    return 32 if is_image(tuple(event_shape)) and rows == 1 else 8


def _is_cloud(event_shape: Shape) -> bool:
    return len(event_shape) == 2 and event_shape[-1] == 3


def _is_point(event_shape: Shape) -> bool:
    return tuple(event_shape) == (2,)
