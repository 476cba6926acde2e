"""Attributes of examples: columns of an array beside the data, or the classes of a data set."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corekit.data.array_files import open_arrays
from corekit.data.array_layout import find_arrays
from corekit.data.loading import fixed_batches
from corekit.data.tables import TableSplit
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset
from corekit.train.heldout import nonempty

CONDITIONS = ("labels", "vector")
"""Sources that are handed on with the examples."""


class Column(NamedTuple):
    """One attribute of the examples of a split."""

    name: str
    values: np.ndarray
    binary: bool


class Attributes(NamedTuple):
    """Named numbers of each example of a split.

    Attributes:
        names: Of the K attributes.
        values: ``(N, K)``, float64; 0 or 1 where an attribute is there or not.
        binary: Of each, whether it is there or not, or else a quantity.
    """

    names: tuple[str, ...]
    values: np.ndarray
    binary: tuple[bool, ...]

    def only(self, chosen: Sequence[str]) -> "Attributes":
        """Some of them.

        Raises:
            UsageError: If there is none of a name.
        """
        places = [self.names.index(known(name, self.names)) for name in chosen]
        binary = tuple(self.binary[place] for place in places)
        return Attributes(tuple(chosen), self.values[:, places], binary)


def attributes_of(
    dataset: Dataset, split: str, sources: Sequence[str], names: Sequence[str] | None = None
) -> Attributes:
    """The attributes of the examples of a split, from one source or several.

    A source is ``labels`` or ``vector``, if the examples come with them: each class is then an
    attribute, or each number. Any other is the name of an array in the file of the data, or
    ``FILE:NAME`` in another one: its rows are those of the array of the data, or of the split; it
    is ``(N,)``, one attribute of that name, or ``(N, K)``. Booleans, 0 and 1, and -1 and 1 say
    whether an attribute is there; other numbers are quantities.

    Args:
        dataset: The data.
        split: Whose examples; those of several splits, joined by "+", one after another.
        sources: Where from; labels or vector, the first there is, if empty.
        names: Of all attributes, where the sources do not say or say it otherwise.

    Raises:
        UsageError: If there is no source, or the names are not as many or not different.
        DataError: If an array cannot be read or does not fit the data.
    """
    there = [name for name in CONDITIONS if name in dataset.data_spec.condition_shapes]
    if not sources and not there:
        raise UsageError(
            "attributes: a source must be given where the data come with no labels and no vector. "
            "Name an array of the data file, or FILE:NAME of another (--attributes)."
        )
    columns: list[Column] = []
    for source in sources or there[:1]:
        parts = [_columns(dataset, name, source) for name in split.split("+")]
        columns += [_joined(same) for same in zip(*parts, strict=True)]
    given = [column.name for column in columns] if names is None else list(names)
    if len(given) != len(columns) or len(set(given)) != len(given):
        raise UsageError(
            f"attributes: there must be {len(columns)} different names, one for each attribute, "
            f"got {', '.join(given)}."
        )
    values = np.stack([column.values for column in columns], axis=1)
    wrong = ~np.isfinite(values).all(0)
    if wrong.any():
        raise DataError(
            f"attributes: '{given[int(wrong.argmax())]}' must hold finite numbers, got NaN or "
            "infinity."
        )
    return Attributes(tuple(given), values, tuple(column.binary for column in columns))


def _joined(parts: Sequence[Column]) -> Column:
    """One attribute of the examples of several splits."""
    values = np.concatenate([part.values for part in parts])
    return Column(parts[0].name, values, all(part.binary for part in parts))


def known(name: str, names: Iterable[str]) -> str:
    """The name, if it is one of these.

    Raises:
        UsageError: With the nearest one.
    """
    names = tuple(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names, 1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise UsageError(f"attribute: there is none named '{name}'.{hint} Known: {', '.join(names)}.")


def _columns(dataset: Dataset, split: str, source: str) -> list[Column]:
    """The attributes of one source."""
    if source in CONDITIONS and source in dataset.data_spec.condition_shapes:
        return _of_conditions(dataset, split, source)
    file, _, name = source.rpartition(":")
    path = Path(file) if file else getattr(dataset, "path", None)
    if path is None:
        raise UsageError(
            f"attributes: '{source}' must be FILE:NAME, or {' or '.join(CONDITIONS)} that the data "
            f"come with, where {type(dataset).__name__} reads no file."
        )
    values, rows = _aligned(dataset, split, Path(path), name)
    names = [name] if values.ndim == 1 else _told_names(Path(path), name, values.shape[1])
    # What a column is, all rows of the file say: those of a split may be all alike.
    columns = [
        _column(*pair) for pair in zip(names, values.reshape(len(values), -1).T, strict=True)
    ]
    return [column._replace(values=column.values[rows]) for column in columns]


def _of_conditions(dataset: Dataset, split: str, source: str) -> list[Column]:
    parts = []
    for batch in fixed_batches(nonempty(dataset, split), 0, 256):
        value = None if batch.condition is None else getattr(batch.condition, source)
        if value is None:
            raise DataError(f"attributes: the examples of '{split}' must come with {source}.")
        parts.append(value.double().numpy())
    values = np.concatenate(parts)
    if source == "vector":
        return [_column(f"vector_{i}", values[:, i]) for i in range(values.shape[1])]
    classes = list(getattr(dataset, "classes", ()))
    numbers = [*range(len(classes))] or np.unique(values[values >= 0]).astype(int).tolist()
    return [
        Column(
            str(classes[number]) if classes else f"class_{number}",
            (values == number).astype(np.float64),
            True,
        )
        for number in numbers
    ]


def _column(name: str, values: np.ndarray) -> Column:
    """A column and what it is; -1 and 1 become 0 and 1."""
    found = set(np.unique(values).tolist())
    signs = found == {-1.0, 1.0}
    values = (values > 0).astype(np.float64) if signs else values.astype(np.float64)
    return Column(name, values, signs or found <= {0.0, 1.0})


def _aligned(
    dataset: Dataset, split: str, path: Path, name: str
) -> tuple[np.ndarray, np.ndarray | slice]:
    """An array, and which of its rows are those of a split."""
    examples = nonempty(dataset, split)
    found = find_arrays(open_arrays(path), name, str(path))
    rows = found.get("all") or found.get(split) or found["train"]
    total, chosen = len(examples), None
    if isinstance(examples, TableSplit):
        total, chosen = len(examples.table.x), examples.table.rows
    if len(rows.shape) > 2 or len(rows) not in (total, len(examples)):
        raise DataError(
            f"{rows.where}: must have shape (rows,) or (rows, attributes) with a row for each of "
            f"the {total} of the data, or of the {len(examples)} of '{split}', got {rows.shape}."
        )
    whole = slice(None) if chosen is None or len(rows) != total else chosen
    return rows.array(), whole


def _told_names(path: Path, name: str, count: int) -> list[str]:
    """What the file calls the columns: an array ``attribute_names`` beside ``attributes``."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            for key in (f"{name}_names", f"{name.removesuffix('s')}_names"):
                if key in archive and archive[key].shape == (count,):
                    return [str(word) for word in archive[key]]
    return [f"{name}_{i}" for i in range(count)]
