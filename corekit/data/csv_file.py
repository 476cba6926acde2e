"""Numbers of a text file: columns parted by commas, semicolons, tabs or spaces."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from corekit.errors import DataError

LAYOUT = """\
a text file with one example per line (.csv, .tsv, .txt; .gz packed), columns parted by "," or ";"
or tab, and the names of the columns in the first line or not at all:
  width,height,kind
  0.5,1.5,chair"""


class Header(NamedTuple):
    """What the first lines of a file tell.

    Attributes:
        names: Of the columns; their numbers, from 0, where the file has none.
        named: Whether the first line holds names.
        delimiter: Between columns.
        numeric: Which columns hold a number in the first line of data.
    """

    names: tuple[str, ...]
    named: bool
    delimiter: str
    numeric: tuple[bool, ...]


def open_text(path: Path) -> TextIO:
    """A text file, packed or not."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def read_header(path: Path) -> Header:
    """Look at the first two lines of a file.

    Raises: DataError if it is not such a file.
    """
    try:
        with open_text(path) as file:
            first, second = file.readline(), file.readline()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: must be {LAYOUT}\nIt cannot be read: {error}.") from error
    delimiter = max(",;\t", key=first.count)
    top, below = (next(csv.reader([line], delimiter=delimiter), []) for line in (first, second))
    named = bool(top) and not any(map(_is_number, top))
    data = below if named else top
    if not data or (below and len(top) != len(below)):
        raise DataError(
            f"{path}: must be {LAYOUT}\nThe first two lines have {len(top)} and {len(below)} "
            "columns."
        )
    names = tuple(map(str.strip, top)) if named else tuple(map(str, range(len(top))))
    return Header(names, named, delimiter, tuple(map(_is_number, data)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def load_columns(path: Path, header: Header, columns: tuple[int, ...], kind: type) -> np.ndarray:
    """Columns of all lines, ``(lines, columns)``."""
    try:
        with open_text(path) as file:
            table: np.ndarray = np.loadtxt(
                file,
                dtype=kind,
                comments=None,
                delimiter=header.delimiter,
                skiprows=int(header.named),
                usecols=columns,
                quotechar='"',
                ndmin=2,
            )
    except (OSError, EOFError, ValueError) as error:
        named = ", ".join(header.names[column] for column in columns)
        raise DataError(
            f"{path}: column {named} must hold a number in every line: {error} (rows from 0). "
            "Fill or remove the line, or choose other `columns`."
        ) from error
    return table


def load_labels(path: Path, header: Header, column: int) -> np.ndarray:
    """The number of the class of each line."""
    words = load_columns(path, header, (column,), str)[:, 0]
    return np.unique(words, return_inverse=True)[1].astype(np.int64)
