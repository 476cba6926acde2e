"""Arrays of any shape from `.npz`, `.npy` and `.h5` files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from corekit.data.array_files import attributes, file_names, open_arrays
from corekit.data.array_layout import (
    Layout,
    ValueRange,
    find_arrays,
    form_of,
    listing,
    rows_of_splits,
)
from corekit.data.fingerprint import fingerprint
from corekit.data.rows import Rows, kept
from corekit.data.tables import Table, TableDataset
from corekit.errors import DataError


class Arrays(TableDataset):
    """Examples are the rows of an array; the file may hold one per split, labels, and more.

    Arrays that fit into ``cache_bytes`` are read once and kept. Of larger ones rows are read when
    they are asked for: see `corekit.data.array_files.open_arrays`. Which arrays are found: see
    `corekit.data.array_layout.find_arrays`.

    Args:
        path: A file, or a folder of `.npy` files.
        array: Name of the data; "x", "data", "images", … or the only array, unless given.
        labels: Name of the array of whole numbers that become `Condition.labels`.
        vector: Name of the array ``(N, C)`` that becomes `Condition.vector`.
        split: Name of the array that says of each row 0 (train), 1 (val) or 2 (test).
        groups: Name of the array with the number of each row's group, where ``split`` says it of
            groups 0, 1, …: of a person or an object, all of whose pictures belong together.
        layout: Where the channels of images are. "auto" takes 8-bit integers for images, whose
            channels are told from their number, and leaves other numbers as stored.
        value_range: What 8-bit levels 0 and 255 become; "auto" is [-1, 1] for 8-bit integers and
            "as_stored" for other numbers.
        bits: How many of 8 bits are kept, the highest ones.
        flip: Mirror half of the training images, drawn anew at each visit.
        held_out: Share of the rows in "val", and in "test", where the file does not say.
        standardize: Let the model compute with data of mean 0 and standard deviation 1, by the
            training rows; it takes and gives them as they are.
        cache_bytes: Most memory to keep all arrays in or, if they do not fit, HDF5 chunks of each.
        source, licence: Recorded with the run; attributes of an HDF5 file are quoted otherwise.

    Raises: DataError if the file cannot be read or does not hold what is asked for.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        array: str | None = None,
        labels: str | None = None,
        vector: str | None = None,
        split: str | None = None,
        groups: str | None = None,
        layout: Layout = "auto",
        value_range: ValueRange = "auto",
        bits: int = 8,
        flip: bool = False,
        held_out: float = 0.1,
        standardize: bool = False,
        cache_bytes: int = 256 * 2**20,
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        self.path = Path(path)
        arrays, where = open_arrays(self.path, cache_bytes), str(self.path)
        xs = find_arrays(arrays, array, where)
        form, spec = form_of(xs.get("train") or xs["all"], layout, value_range, bits)
        for rows in xs.values():
            if rows.shape[1:] != next(iter(xs.values())).shape[1:]:
                raise DataError(f"{where}: rows must have one shape, got {listing(arrays)}.")
        others = [
            {} if name is None else _beside(arrays, name, list(xs), where)
            for name in (labels, vector)
        ]
        tables = {
            name: Table(rows, others[0].get(name), others[1].get(name)) for name, rows in xs.items()
        }
        if sum(r.nbytes for t in tables.values() for r in t[:3] if r is not None) <= cache_bytes:
            tables = {name: _kept(table) for name, table in tables.items()}
        if groups is not None and split is None:
            raise DataError(f"{where}: groups must be left out unless split is given.")
        if split is not None:
            tables = _split_by(arrays, split, groups, tables, where)
        told = attributes(self.path)
        super().__init__(
            tables,
            form,
            spec,
            where=where,
            held_out=held_out,
            flip=flip,
            standardize=standardize,
            facts={
                "path": where,
                "source": source or told.get("source"),
                "licence": licence or told.get("licence") or told.get("license"),
                "attributes": told,
            },
        )

    def _files(self) -> Mapping[str, object]:
        return fingerprint(*file_names(self.path))


def _kept(table: Table) -> Table:
    x, labels, vector, rows = table
    return Table(kept(x), labels and kept(labels), vector and kept(vector), rows)


def _beside(
    arrays: Mapping[str, Rows], name: str, splits: list[str], where: str
) -> dict[str, Rows]:
    """The arrays of labels, in the form of the data."""
    found = find_arrays(arrays, name, where)
    missing = [split for split in splits if split not in found]
    if missing:
        raise DataError(
            f"{where}: '{name}' must have an array for each of {', '.join(splits)}, like the "
            f"data, got none for {', '.join(missing)}. Found: {listing(arrays)}."
        )
    return found


def _split_by(
    arrays: Mapping[str, Rows],
    name: str,
    groups: str | None,
    tables: Mapping[str, Table],
    where: str,
) -> dict[str, Table]:
    for option, array in (("split", name), ("groups", groups)):
        if array is not None and ("all" not in tables or array not in arrays):
            raise DataError(
                f"{where}: {option} must name an array beside one array of data, got '{array}'. "
                f"Found: {listing(arrays)}."
            )
    table = tables["all"]
    marks, total = arrays[name], len(table.x)
    found = rows_of_splits(marks, total if groups is None else len(marks))
    if groups is not None:
        group_of = _groups(arrays[groups], total, len(marks))
        found = {part: np.flatnonzero(np.isin(group_of, of)) for part, of in found.items()}
        found = {part: rows for part, rows in found.items() if len(rows)}
    if "train" not in found:
        raise DataError(f"{where}: '{name}' must say 0 (train) of some row, got none.")
    return {part: table._replace(rows=rows) for part, rows in found.items()}


def _groups(numbers: Rows, total: int, groups: int) -> np.ndarray:
    """The group of each row."""
    values = numbers.array()
    fits = values.shape == (total,) and values.dtype.kind in "iu"
    if not fits or (total and not 0 <= values.min() <= values.max() < groups):
        raise DataError(
            f"{numbers.where}: must say of each of {total} rows its group, 0 ... {groups - 1}, "
            f"got {values.dtype} {values.shape}."
        )
    return values
