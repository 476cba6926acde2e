"""Point clouds in the files that other programs read."""

from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from corekit.errors import UsageError


def save_ply(clouds: Tensor, folder: Path) -> Path:
    """A binary PLY file per cloud, ``0000.ply`` and on; the folder.

    Shape: clouds ``(S, N, 3)``.
    Source: Turk, The PLY Polygon File Format, 1994.
    """
    _check(clouds, "ply", 3)
    folder.mkdir(parents=True, exist_ok=True)
    header = (
        "ply\nformat binary_little_endian 1.0\nelement vertex {}\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    for number, cloud in enumerate(clouds.detach().cpu().numpy()):
        rows = np.ascontiguousarray(cloud, "<f4").tobytes()
        (folder / f"{number:04}.ply").write_bytes(header.format(len(cloud)).encode() + rows)
    return folder


def save_hdf5(clouds: Tensor, path: Path) -> Path:
    """One file, laid out as `pointcloud.hdf5` reads it: ``/samples/test``, float32 (S, N, D)."""
    _check(clouds, "h5", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["samples/test"] = clouds.detach().cpu().numpy().astype(np.float32)
    return path


def _check(clouds: Tensor, what: str, dimensions: int | None) -> None:
    if clouds.ndim != 3 or dimensions not in (None, clouds.shape[-1]):
        raise UsageError(
            f"{what}: samples must be clouds (points, {dimensions or 'dimensions'}), got shape "
            f"{tuple(clouds.shape[1:])}."
        )
