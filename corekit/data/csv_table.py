"""A data set of the numbers of a text file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from corekit.data.array_layout import form_of
from corekit.data.csv_file import LAYOUT, Header, load_columns, load_labels, read_header
from corekit.data.fingerprint import fingerprint
from corekit.data.rows import MemoryRows
from corekit.data.tables import Table, TableDataset
from corekit.errors import DataError


class Csv(TableDataset):
    """Columns of numbers as vectors, and one column of words or numbers as labels if asked.

    The file is read whole.

    Args:
        path: The file.
        columns: Names of the columns of an example, or their numbers from 0; all that hold numbers,
            except the label, unless given.
        labels: The column of classes, numbered in the order of their names.
        held_out: Share of the lines in "val", and in "test".
        standardize: Let the model compute with columns of mean 0 and standard deviation 1, by the
            training lines; it takes and gives numbers as they are.
        source, licence: Recorded with the run.

    Raises: DataError if the file cannot be read, lacks a column, or has a gap.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        columns: Sequence[str] | None = None,
        labels: str | None = None,
        held_out: float = 0.1,
        standardize: bool = False,
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise DataError(f"{self.path}: must be {LAYOUT}\nFound no file.")
        header = read_header(self.path)
        label = None if labels is None else _find(self.path, header, labels)
        if columns is None:
            chosen = [i for i, numeric in enumerate(header.numeric) if numeric and i != label]
        else:
            chosen = [_find(self.path, header, name) for name in columns]
        if not chosen:
            raise DataError(f"{self.path}: must have a column of numbers, got {header.names}.")
        self.columns = tuple(header.names[column] for column in chosen)
        array = load_columns(self.path, header, tuple(chosen), float)
        load = partial(load_columns, self.path, header, tuple(chosen), float)
        x = MemoryRows(load, str(self.path), array.shape, array.dtype)
        self.classes: tuple[str, ...] = ()
        y = None
        if label is not None:
            words = load_columns(self.path, header, (label,), str)[:, 0]
            self.classes = tuple(np.unique(words).tolist())
            numbers = partial(load_labels, self.path, header, label)
            y = MemoryRows(numbers, str(self.path), words.shape, np.dtype(np.int64))
        form, spec = form_of(x, "as_stored", "as_stored")
        super().__init__(
            {"all": Table(x, y)},
            form,
            spec,
            where=str(self.path),
            held_out=held_out,
            standardize=standardize,
            names=self.columns,
            facts={
                "path": str(self.path),
                "source": source,
                "licence": licence,
                "columns": list(self.columns),
                "classes": list(self.classes),
            },
        )

    def _files(self) -> Mapping[str, object]:
        return fingerprint(self.path.parent, [self.path.name])


def _find(path: Path, header: Header, name: str) -> int:
    """The column of a name, or of a number from 0."""
    if name in header.names:
        return header.names.index(name)
    raise DataError(f"{path}: column must be one of {', '.join(header.names)}, got '{name}'.")
