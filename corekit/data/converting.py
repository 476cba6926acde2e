"""Write a data set into one file whose rows lie one after another, uncompressed."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from corekit.data.array_files import ABOUT
from corekit.data.image_folder import ImageSplit
from corekit.data.point_clouds import CloudSplit
from corekit.data.tables import TableSplit
from corekit.data_spec import Shape
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset

_ROWS = 256  # that are written at once


class _Array(NamedTuple):
    """An array that is written row by row, named by the split and what it is.

    Of clouds it is named by their class and the split.
    """

    group: str
    name: str
    shape: Shape
    dtype: np.dtype
    rows: Iterator[np.ndarray]


def convert(dataset: Dataset, out: str | os.PathLike[str]) -> Path:
    """Write the stored rows of every split, before values are scaled: 8-bit pixels stay 8-bit.

    The arrays are named ``x``, ``labels`` and ``vector``, below the split: ``train/x`` in an `.h5`
    file, ``x_train`` in an `.npz` file. The data set `arrays` finds them and reads them a row at a
    time. Source, licence, classes and the hash of what was read are kept with them.

    Point clouds go to an `.h5` file that `pointcloud.hdf5` reads, ``<class>/train``, and the names
    of the shapes beside them, ``<class>/train_names``.

    Raises:
        UsageError: The name ends in neither .h5 nor .npz, or not in .h5 for clouds, or the file
            exists.
        DataError: The data are not of files, or cannot be read.
    """
    out = Path(out)
    if out.suffix not in (".h5", ".hdf5", ".npz"):
        raise UsageError(f"{out}: the name must end in .h5, .hdf5 or .npz, got '{out.suffix}'.")
    if out.exists():
        raise UsageError(f"{out}: there must be no such file, got one. Choose another name.")
    arrays = [array for name in dataset.splits for array in _arrays(dataset, name)]
    if out.suffix == ".npz" and isinstance(dataset.split(dataset.splits[0]), CloudSplit):
        raise UsageError(f"{out}: the name must end in .h5 or .hdf5 for point clouds, got '.npz'.")
    about = {k: v for k, v in dataset.describe().items() if k != "attributes" and v is not None}
    about["made_from"] = about.pop("path", None)
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.partial")
    try:
        (_write_npz if out.suffix == ".npz" else _write_hdf5)(partial, arrays, about)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    return out


def _arrays(dataset: Dataset, name: str) -> Iterator[_Array]:
    split = dataset.split(name)
    if isinstance(split, CloudSplit):
        yield from _clouds(split, name, getattr(dataset, "categories", ()))
        return
    if not isinstance(split, ImageSplit | TableSplit):
        raise DataError(
            "convert: the data must be image_folder, arrays, idx or csv, or clouds of points, got "
            f"{type(dataset).__name__}."
        )
    count = len(split)
    first = split.raw(0)
    dtype = first.dtype.newbyteorder("=")
    rows = (split.raw(i) for i in range(count))
    yield _Array(name, "x", (count, *first.shape), dtype, rows)
    conditions = dataset.data_spec.condition_shapes
    for field in ("labels", "vector"):
        if field in conditions:
            kind = np.dtype(np.int64 if field == "labels" else np.float32)
            shape = (count, *conditions[field])
            yield _Array(name, field, shape, kind, _conditions(split, field))


def _clouds(split: CloudSplit, name: str, categories: Sequence[str]) -> Iterator[_Array]:
    """The stored clouds of each class, and their names."""
    classes: dict[int, list[int]] = {}
    for i in range(len(split)):
        classes.setdefault(split.label(i), []).append(i)
    for label, members in classes.items():
        group = categories[label] if categories else str(label)
        shape, count = split.raw(members[0]).shape, len(members)
        clouds = (split.raw(i).astype(np.float32, copy=False) for i in members)
        yield _Array(group, name, (count, *shape), np.dtype(np.float32), clouds)
        yield _Array(group, f"{name}_names", (count,), h5py.string_dtype(), _names(split, members))


def _names(split: CloudSplit, members: Sequence[int]) -> Iterator[np.ndarray]:
    for i in members:  # what is no UTF-8 in the name of a file becomes "?"
        yield np.array(split.name(i).encode(errors="replace").decode(), dtype=object)


def _conditions(split: ImageSplit | TableSplit, field: str) -> Iterator[np.ndarray]:
    for i in range(len(split)):
        yield np.asarray(getattr(split.condition(i), field))


def _write_hdf5(path: Path, arrays: list[_Array], about: Mapping[str, object]) -> None:
    with h5py.File(path, "w") as file:
        for name, value in about.items():
            plain = isinstance(value, str | int | float)
            file.attrs[name] = value if plain else json.dumps(value)
        for array in arrays:
            target = file.create_dataset(f"{array.group}/{array.name}", array.shape, array.dtype)
            start = 0
            while rows := list(islice(array.rows, _ROWS)):
                target[start : start + len(rows)] = np.stack(rows)
                start += len(rows)


def _write_npz(path: Path, arrays: list[_Array], about: Mapping[str, object]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for array in arrays:
            header = {
                "descr": np.lib.format.dtype_to_descr(array.dtype),
                "fortran_order": False,
                "shape": array.shape,
            }
            name = f"{array.name}_{array.group}.npy"
            with archive.open(name, "w", force_zip64=True) as file:
                np.lib.format.write_array_header_1_0(file, header)
                for row in array.rows:
                    file.write(np.ascontiguousarray(row, array.dtype).tobytes())
        with archive.open(f"{ABOUT}.npy", "w") as file:
            np.lib.format.write_array(file, np.array(json.dumps(about)), allow_pickle=False)
