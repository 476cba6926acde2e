"""A picture of a set of samples, whatever they are."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from corekit.report.pictures import pairs_grid, point_cloud_grid


def save_picture(samples: Tensor, path: Path, captions: Sequence[str] | None = None) -> Path | None:
    """Draw samples to a PNG; None if there is no picture of data of this shape.

    Shape: ``(S, N, 3)`` point clouds.
    """
    return point_cloud_grid(samples, path, captions) if _are_clouds(samples) else None


def save_pairs(originals: Tensor, copies: Tensor, path: Path) -> Path | None:
    """Draw examples above their reconstructions; None if there is no picture of such data."""
    return pairs_grid(originals, copies, path) if _are_clouds(originals) else None


def _are_clouds(samples: Tensor) -> bool:
    return samples.ndim == 3 and samples.shape[-1] == 3
