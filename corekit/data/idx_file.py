"""Files of the idx format, in which MNIST and its relatives come."""

from __future__ import annotations

import gzip
import math
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from corekit.data.rows import FileRows, MemoryRows, Rows
from corekit.data_spec import Shape
from corekit.errors import DataError

LAYOUT = """\
idx files, packed (.gz) or not, named like those of MNIST:
  train-images-idx3-ubyte[.gz]   train-labels-idx1-ubyte[.gz]
  t10k-images-idx3-ubyte[.gz]    t10k-labels-idx1-ubyte[.gz]"""

_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_SPLITS = {"train": ("train",), "test": ("t10k", "test"), "val": ("val", "valid")}


def open_idx(path: Path) -> Rows:
    """The array of an idx file; only the header is read.

    The header is two zero bytes, a type, the number of axes, then each axis, 4 bytes, big-endian.

    Raises: DataError if it is no idx file, or shorter than its header says.
    """
    try:
        with _open(path) as file:
            shape, dtype = _header(file)
        offset = 4 + 4 * len(shape)
        if path.suffix == ".gz":
            return MemoryRows(partial(_load, path), str(path), shape, dtype)
        if path.stat().st_size < offset + math.prod(shape) * dtype.itemsize:
            raise DataError(f"must hold {shape[0]} rows, but it ends before the last")
        return FileRows(path, offset, str(path), shape, dtype)
    except (OSError, EOFError, zlib.error, DataError) as error:
        raise DataError(f"{path}: must be an idx file that can be read: {error}.") from error


def _open(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else open(path, "rb"))


def _header(file: BinaryIO) -> tuple[Shape, np.dtype]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or not magic[3]:
        raise DataError(f"the first bytes must be 0, 0, a type and a number of axes, got {magic!r}")
    axes = file.read(4 * magic[3])
    if len(axes) < 4 * magic[3]:
        raise DataError("it ends within its header")
    return tuple(np.frombuffer(axes, ">i4").tolist()), np.dtype(_TYPES[magic[2]])


def _load(path: Path) -> np.ndarray:
    try:
        with _open(path) as file:
            shape, dtype = _header(file)
            data = file.read(math.prod(shape) * dtype.itemsize)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error
    if len(data) < math.prod(shape) * dtype.itemsize:
        raise DataError(f"{path}: must hold {shape[0]} rows, but it ends before the last.")
    return np.frombuffer(data, dtype).reshape(shape)


def find_idx(path: Path) -> dict[str, tuple[Path, Path | None]]:
    """Images, and labels where they are, of each split in a folder; or of one file, as "all".

    Raises: DataError if there are none.
    """
    if path.is_file():
        return {"all": (path, _labels_of(path))}
    files = sorted(p for p in path.glob("*images*") if p.is_file()) if path.is_dir() else []
    found: dict[str, tuple[Path, Path | None]] = {}
    for split, words in _SPLITS.items():
        there = [p for p in files if any(word in p.name.split("images")[0] for word in words)]
        if there:  # of a file and its packed twin, the former
            found[split] = there[0], _labels_of(there[0])
    if "train" in found:
        return found
    if len(files) == 1:
        return {"all": (files[0], _labels_of(files[0]))}
    names = ", ".join(p.name for p in files[:8]) or "no file named *images*"
    raise DataError(f"{path}: must be a folder with {LAYOUT}\nFound: {names}.")


def _labels_of(images: Path) -> Path | None:
    name = images.name.replace("images", "labels").replace("idx3", "idx1").removesuffix(".gz")
    there = [images.with_name(n) for n in (name, f"{name}.gz") if images.with_name(n).is_file()]
    return there[0] if there and there[0] != images else None
