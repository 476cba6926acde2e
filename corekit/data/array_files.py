"""The arrays of a file by name: `.npz`, `.npy` (or a folder of them), `.h5`."""

from __future__ import annotations

import json
import math
import os
import struct
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np

from corekit.data.hdf5_file import Hdf5File, plain
from corekit.data.rows import ChunkRows, FileRows, MemoryRows, Rows
from corekit.data_spec import Shape
from corekit.errors import DataError

ABOUT = "about"
HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf")
_NUMBERS = "biuf"  # dtype kinds that are read
_CACHE = 256 * 2**20


def open_arrays(path: str | os.PathLike[str], cache_bytes: int = _CACHE) -> dict[str, Rows]:
    """Every array of numbers in a file, by name; only headers are read.

    Rows of `.npy`, of uncompressed `.npz` and of contiguous HDF5 arrays are read one at a time;
    HDF5 chunks are kept within ``cache_bytes``; a compressed array of an `.npz` is read whole.

    Raises: DataError if there is no such file, or it is not what its name says.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return _numbers({p.stem: _npy(p) for p in sorted(path.glob("*.npy"))})
        if not path.is_file():
            raise DataError(f"{path}: a data file must exist here, found none.")
        if path.suffix == ".npy":
            return _numbers({path.stem: _npy(path)})
        if path.suffix == ".npz":
            return _npz(path)
        if path.suffix in HDF5_SUFFIXES:
            return _hdf5(path, cache_bytes)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, struct.error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path}: must be a file of arrays that can be read: {error}.") from error
    raise DataError(
        f"{path}: the name must end in .npz, .npy, .h5 or .hdf5, got '{path.suffix}'. "
        "`corekit data inspect` tells what reads it."
    )


def file_names(path: Path) -> tuple[Path, list[str]]:
    """What `open_arrays` reads: a folder, and names in it."""
    if path.is_dir():
        return path, [p.name for p in path.glob("*.npy")]
    return path.parent, [path.name]


def attributes(path: Path) -> dict[str, object]:
    """What a file says of itself, perhaps source and licence.

    The attributes of an HDF5 file, or the JSON text of the array `ABOUT` of an .npz file.
    """
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            return dict(json.loads(str(archive[ABOUT]))) if ABOUT in archive else {}
    if path.suffix not in HDF5_SUFFIXES:
        return {}
    file = Hdf5File(path)
    try:
        return {name: plain(value) for name, value in file.open().attrs.items()}
    finally:
        file.close()


def _npy(path: Path) -> Rows:
    with open(path, "rb") as file:
        return _of_header(file, path, 0, f"{path}", partial(_load_npy, path))


def _npz(path: Path) -> dict[str, Rows]:
    found: dict[str, Rows] = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as raw:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            load = partial(_load_npz, path, name)
            where = f"{path}: {name}"
            if entry.compress_type == zipfile.ZIP_STORED:
                raw.seek(entry.header_offset)
                header = raw.read(30)  # of the entry; its end gives the lengths of two more fields
                start = entry.header_offset + 30 + sum(struct.unpack("<HH", header[26:30]))
                rows = _of_header(raw, path, start, where, load)
            else:
                with archive.open(entry) as packed:
                    shape, _, dtype, _ = _header(packed)  # type: ignore[arg-type]
                rows = MemoryRows(load, where, shape, dtype)
            found[name] = rows
    return _numbers(found)


def _numbers(found: dict[str, Rows]) -> dict[str, Rows]:
    return {name: r for name, r in found.items() if r.dtype.kind in _NUMBERS and r.shape}


def _of_header(file: BinaryIO, path: Path, start: int, where: str, load: partial) -> Rows:
    """Rows of an array whose header begins at ``start``."""
    file.seek(start)
    shape, fortran, dtype, length = _header(file)
    if (fortran and len(shape) > 1) or dtype.hasobject or not shape:
        return MemoryRows(load, where, shape, dtype)
    end = start + length + math.prod(shape) * dtype.itemsize
    if end > path.stat().st_size:
        raise DataError(f"{where}: must have {shape[0]} rows, but the file ends before the last.")
    return FileRows(path, start + length, where, shape, dtype)


def _header(file: BinaryIO) -> tuple[Shape, bool, np.dtype, int]:
    """Shape, order, dtype and length of the header of a `.npy` stream."""
    start = file.tell()
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise DataError(f"must be of version 1 or 2 of the .npy format, got {version}")
    shape, fortran, dtype = read(file)
    return shape, fortran, dtype, file.tell() - start


def _load_npy(path: Path) -> np.ndarray:
    try:
        array: np.ndarray = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error
    return array


def _load_npz(path: Path, name: str) -> np.ndarray:
    try:
        with np.load(path, allow_pickle=False) as archive:
            array: np.ndarray = archive[name]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: {name} cannot be read: {error}.") from error
    return array


def _hdf5(path: Path, cache_bytes: int) -> dict[str, Rows]:
    file, found = Hdf5File(path), dict[str, Rows]()

    def note(name: str, content: object) -> None:
        if not isinstance(content, h5py.Dataset) or content.dtype.kind not in _NUMBERS:
            return
        if not content.shape:
            return
        offset = content.id.get_offset()  # None where chunked, compressed or not yet written
        if offset is None or content.chunks or content.external:
            found[name] = ChunkRows(file, name, cache_bytes)
        else:
            where = f"{path}: {name}"
            found[name] = FileRows(path, offset, where, content.shape, content.dtype)

    try:
        file.open().visititems(note)
    finally:
        file.close()
    return found
