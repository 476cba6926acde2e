"""Data sets of rows: an array and, perhaps, a label or a vector for each of its rows."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from corekit.data.array_layout import Form
from corekit.data.rows import MemoryRows, Rows
from corekit.data.splitting import SPLITS, split_rows
from corekit.data.statistics import with_statistics
from corekit.data_spec import DataSpec
from corekit.errors import DataError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Batch, Condition


class Table(NamedTuple):
    """What one split is read from.

    Attributes:
        x: The data.
        labels: A whole number for each row, or None.
        vector: ``(C,)`` for each row, or None.
        rows: Which rows, or None for all.
    """

    x: Rows
    labels: Rows | None = None
    vector: Rows | None = None
    rows: np.ndarray | None = None


class TableSplit(Split):
    """Rows of a table as examples, read when they are asked for.

    Args:
        table: Where from.
        form: How a stored row becomes an example.
        flip: Mirror half of the images.
    """

    def __init__(self, table: Table, form: Form, *, flip: bool = False) -> None:
        self.table, self.form, self.flip = table, form, flip
        self._labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.table.x) if self.table.rows is None else len(self.table.rows)

    def name(self, index: int) -> str:
        """The number of the row in its array."""
        return str(self._row(index))

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Row ``index``, float32 ``event_shape``, perhaps mirrored."""
        number = self._row(index)
        x = self.form(self.table.x.row(number)[None])[0]
        self._check_finite(x[None], [number])
        if self.flip and rng.random() < 0.5:
            x = np.ascontiguousarray(x[..., ::-1])
        return Item(torch.from_numpy(x), self.condition(index))

    def get_batch(self, indices: Sequence[int]) -> Batch | None:
        """Rows at once, unless chance mirrors them."""
        if self.flip:
            return None
        numbers = [self._row(index) for index in indices]
        _, labels, vector, _ = self.table
        condition = None
        if labels is not None or vector is not None:
            classes = None if labels is None else self._label_array(labels)[numbers]
            condition = Condition(
                labels=None if classes is None else torch.from_numpy(classes.astype(np.int64)),
                vector=None if vector is None else _floats(vector.take(numbers)),
            )
        x = torch.from_numpy(self.examples(indices))
        return Batch(x, condition, torch.tensor(list(indices)))

    def examples(self, indices: Sequence[int]) -> np.ndarray:
        """Rows ``(B, *event_shape)``, float32, none of them mirrored."""
        numbers = [self._row(index) for index in indices]
        x = self.form(self.table.x.take(numbers))
        self._check_finite(x, numbers)
        return x

    def raw(self, index: int) -> np.ndarray:
        """Row ``index`` as it is stored."""
        return self.table.x.row(self._row(index))

    def condition(self, index: int) -> Condition | None:
        """Label and vector of a row, where they were asked for."""
        _, labels, vector, _ = self.table
        if labels is None and vector is None:
            return None
        row = self._row(index)
        number = None if labels is None else torch.tensor(int(self._label_array(labels)[row]))
        values = None if vector is None else _floats(vector.row(row))
        return Condition(labels=number, vector=values)

    def _check_finite(self, x: np.ndarray, numbers: Sequence[int]) -> None:
        if self.table.x.dtype.kind == "f" and not np.isfinite(x).all():
            which, *at = np.argwhere(~np.isfinite(x))[0].tolist()
            raise DataError(
                f"{self.table.x.where}: row {numbers[which]} must hold finite numbers, "
                f"got {x[which][tuple(at)]} at {at}. Repair the row or remove it."
            )

    def _label_array(self, labels: Rows) -> np.ndarray:
        if self._labels is None:  # small: kept whole
            self._labels = labels.array()
        return self._labels

    def _row(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"Row {index} does not exist: the split has {len(self)}.")
        return index if self.table.rows is None else int(self.table.rows[index])

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_labels": None}


class TableDataset(Dataset):
    """A data set whose splits are tables.

    **Implement one.** Call the constructor with the tables and write ``_files``.

    Args:
        tables: By split; "all" is split here: ``held_out`` of its rows are "val", and "test".
            Where "val" alone is missing, it is taken from "train".
        form: How a stored row becomes an example.
        spec: What an example is.
        where: Path, for messages.
        held_out: A share.
        flip: Mirror half of the training images.
        standardize: Ask the model to compute with standardised data.
        names: Of the features of a vector, for messages.
        facts: What `describe` says beside sizes and hash.
    """

    def __init__(
        self,
        tables: Mapping[str, Table],
        form: Form,
        spec: DataSpec,
        *,
        where: str,
        held_out: float,
        flip: bool = False,
        standardize: bool = False,
        names: Sequence[str] | None = None,
        facts: Mapping[str, object],
    ) -> None:
        if flip and not form.mirrored:
            raise DataError(
                f"{where}: flip must be left out unless rows are images, got {spec.event_shape}."
            )
        self._tables = _complete(tables, held_out)
        self._form, self._flip, self._where, self._facts = form, flip, where, facts
        if not len(self._tables["train"].x):
            raise DataError(f"{where}: the training split must have a row, got none.")
        self.splits = tuple(self._tables)
        conditions = {name: shape for t in self._tables.values() for name, shape in _shapes(t)}
        train = TableSplit(self._tables["train"], form)
        self.data_spec = replace(spec, size=len(train), condition_shapes=conditions)
        if standardize:
            self.data_spec = with_statistics(self.data_spec, train, where, names)

    def split(self, name: str) -> TableSplit:
        """The rows of one split."""
        if name not in self._tables:
            known = ", ".join(self.splits)
            raise DataError(f"{self._where}: split must be one of {known}, got '{name}'.")
        table = self._tables[name]
        for rows in (table.x, table.vector):
            if isinstance(rows, MemoryRows):
                rows.array()  # read now: processes that are forked later share it
        return TableSplit(table, self._form, flip=self._flip and name == "train")

    def describe(self) -> Mapping[str, object]:
        """What the run records: the files and their hash, sizes, shape, range, licence."""
        data = self.data_spec
        return {
            **self._facts,
            **self._fingerprint,
            "sizes": {n: len(TableSplit(table, self._form)) for n, table in self._tables.items()},
            "stored": str(self._tables["train"].x.dtype),
            "event_shape": list(data.event_shape),
            "levels": data.levels,
            "lowest": data.lowest,
            "bin_width": data.bin_width,
            "standardized": data.mean is not None,
        }

    @abstractmethod
    def _files(self) -> Mapping[str, object]:
        """Number, size and hash of the files: `corekit.data.fingerprint.fingerprint`."""

    @cached_property
    def _fingerprint(self) -> Mapping[str, object]:
        return self._files()


def _floats(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32))


def _complete(tables: Mapping[str, Table], share: float) -> dict[str, Table]:
    """Tables of the splits, in their order."""
    for name, table in tables.items():
        for other in (table.labels, table.vector):
            if other is not None and len(other) != len(table.x):
                raise DataError(
                    f"{other.where}: must have a row for each of the {len(table.x)} rows of "
                    f"'{name}', got {len(other)}."
                )
    complete = dict(tables)
    if "all" in complete:
        table, parts = complete.pop("all"), ["val", "test"]
    elif "val" not in complete:
        table, parts = complete.pop("train"), ["val"]
    else:
        return {name: complete[name] for name in SPLITS if name in complete}
    for name, rows in split_rows(len(table.x), share, parts).items():
        complete[name] = table._replace(rows=rows)
    if "train" not in complete:  # no row at all
        complete["train"] = table
    return {name: complete[name] for name in SPLITS if name in complete}


def _shapes(table: Table) -> list[tuple[str, tuple[int, ...]]]:
    shapes: list[tuple[str, tuple[int, ...]]] = []
    if table.labels is not None:
        if len(table.labels.shape) != 1 or table.labels.dtype.kind not in "iub":
            raise DataError(
                f"{table.labels.where}: labels must be one whole number per row, "
                f"got {table.labels.dtype} {table.labels.shape}."
            )
        shapes.append(("labels", ()))
    if table.vector is not None:
        if len(table.vector.shape) != 2:
            raise DataError(
                f"{table.vector.where}: vector must have shape (rows, numbers), "
                f"got {table.vector.shape}."
            )
        shapes.append(("vector", table.vector.shape[1:]))
    return shapes
