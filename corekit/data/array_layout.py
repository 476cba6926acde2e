"""Which array of a file is the data, which a label, of which split; and how a row is laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from corekit.data.pixels import level_values
from corekit.data.rows import Rows
from corekit.data.splitting import SPLITS, SYNONYMS
from corekit.data_spec import DataSpec, Shape, Support, pixel_spec
from corekit.errors import DataError

Layout = Literal["auto", "as_stored", "channels_last", "channels_first", "grey"]
ValueRange = tuple[float, float] | Literal["auto", "as_stored"]

USUAL = ("x", "X", "data", "images", "image", "arr_0")
"""Names of the data, where no name is given."""

EXPECTED = """\
arrays with one row per example, in one of these layouts (x stands for the option `array`):
  x                                       a share is held out
  x_train, x_val, x_test   or   train_x   one array per split
  train/x, val/x, test/x   or   x/train   the same, in groups (.h5) or folders
  train, val, test                        the same, without another name
and labels, under another name, in the same form."""


def find_arrays(arrays: Mapping[str, Rows], base: str | None, where: str) -> dict[str, Rows]:
    """The array of each split, or of "all", that a name stands for.

    Args:
        arrays: Of the file.
        base: The name; the usual ones are tried where it is None.
        where: The file, for messages.

    Raises: DataError if there is none, or there are two for one split.
    """
    for name in USUAL if base is None else (base,):
        found = _by_split(arrays, name, where)
        if found:
            return found
        if name in arrays:
            return {"all": arrays[name]}
    found = _by_split(arrays, None, where) if base is None else {}
    if found:
        return found
    if base is None and len(arrays) == 1:
        return {"all": next(iter(arrays.values()))}
    wanted = f"an array named '{base}'" if base is not None else EXPECTED
    raise DataError(
        f"{where}: must hold {wanted}\nFound: {listing(arrays)}."
        + (" Name the one to read: `array: NAME`." if base is None and arrays else "")
    )


def _by_split(arrays: Mapping[str, Rows], base: str | None, where: str) -> dict[str, Rows]:
    """The arrays that are named by a base and a split; {} unless "train" is among them."""
    found: dict[str, Rows] = {}
    for split, words in SYNONYMS.items():
        forms = [f for word in words for f in _forms(word, base)]
        there = [form for form in forms if form in arrays]
        if len(there) > 1:
            raise DataError(f"{where}: '{split}' must be one array, got {' and '.join(there)}.")
        if there:
            found[split] = arrays[there[0]]
    return found if "train" in found else {}


def _forms(word: str, base: str | None) -> Sequence[str]:
    if base is None:
        return (word,)
    return (f"{base}_{word}", f"{word}_{base}", f"{base}/{word}", f"{word}/{base}")


def rows_of_splits(marks: Rows, total: int) -> dict[str, np.ndarray]:
    """Row numbers by split, from an array that says of each row 0 train, 1 val, 2 test."""
    values = marks.array()
    if values.shape != (total,) or not np.isin(values, (0, 1, 2)).all():
        raise DataError(
            f"{marks.where}: must say 0 (train), 1 (val) or 2 (test) of each of {total} rows, "
            f"got {values.dtype} {values.shape} with {np.unique(values)[:5].tolist()}."
        )
    found = {split: np.flatnonzero(values == i) for i, split in enumerate(SPLITS)}
    return {split: rows for split, rows in found.items() if len(rows)}


def listing(arrays: Mapping[str, Rows], most: int = 8) -> str:
    """The first few arrays, for a message."""
    names = [f"{name} {rows.dtype} {rows.shape}" for name, rows in arrays.items()]
    return ", ".join(names[:most] + ["…"] * (len(names) > most)) or "no arrays of numbers"


_GREY = (-1,)  # an axis of one channel is put in


class Form(NamedTuple):
    """How a stored row becomes an example.

    Attributes:
        order: Axes of rows in the order of examples, or None to leave them.
        values: Of each 8-bit level, float32 ``(256,)``, or None to keep numbers as they are.
        mirrored: Whether the last axis goes from left to right: whether it can be flipped.
    """

    order: tuple[int, ...] | None
    values: np.ndarray | None
    mirrored: bool

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows ``(B, ...)`` as float32 examples ``(B, *event_shape)``, a new array."""
        if self.order == _GREY:
            rows = rows[:, None]
        elif self.order is not None:
            rows = rows.transpose(self.order)
        if self.values is not None:
            return self.values.take(rows)
        return np.array(rows, np.float32, order="C")


def form_of(
    rows: Rows, layout: Layout, value_range: ValueRange, bits: int = 8
) -> tuple[Form, DataSpec]:
    """The form of the rows of an array, and what the examples are.

    ``bits`` of 8-bit integers are kept, where these are brought to a range.

    Raises: DataError if the array has no such layout, or one cannot tell.
    """
    event = rows.shape[1:]
    if layout == "auto":
        layout = _tell_layout(rows)
    order: tuple[int, ...] | None = None
    if layout in ("channels_last", "channels_first"):
        _expect_axes(rows, layout, 3)
        order = (0, 3, 1, 2) if layout == "channels_last" else None
        event = (event[2], *event[:2]) if order else event
    elif layout == "grey":
        _expect_axes(rows, layout, 2)
        order, event = _GREY, (1, *event)
    image = layout != "as_stored"
    if value_range == "auto":
        value_range = (-1.0, 1.0) if rows.dtype == np.uint8 else "as_stored"
    if bits != 8 and (value_range == "as_stored" or rows.dtype != np.uint8):
        raise DataError(
            f"{rows.where}: bits must be left out unless 8-bit integers are brought to a "
            f"value_range, got bits {bits} of {rows.dtype}."
        )
    if value_range == "as_stored":
        return Form(order, None, image), _as_stored(event, rows.dtype)
    if rows.dtype != np.uint8:
        raise DataError(
            f"{rows.where}: value_range must be given for 8-bit integers only, got {rows.dtype}. "
            "Leave it out: numbers are taken as they are stored."
        )
    form = Form(order, level_values(value_range, bits), image)
    return form, pixel_spec(event, value_range, bits=bits)


def _tell_layout(rows: Rows) -> Layout:
    event = rows.shape[1:]
    if rows.dtype != np.uint8 or len(event) not in (2, 3):
        return "as_stored"
    if len(event) == 2:
        return "grey"
    last, first = event[-1] in (1, 3, 4), event[0] in (1, 3, 4)
    if last == first:
        raise DataError(
            f"{rows.where}: rows of 8-bit integers {event} must have 1, 3 or 4 channels, first or "
            "last. Say what they are: `layout: channels_last`, `channels_first` or `as_stored`."
        )
    return "channels_last" if last else "channels_first"


def _expect_axes(rows: Rows, layout: str, axes: int) -> None:
    if len(rows.shape) != axes + 1:
        raise DataError(
            f"{rows.where}: rows must have {axes} axes with layout: {layout}, got {rows.shape[1:]}."
        )


def _as_stored(event: Shape, dtype: np.dtype) -> DataSpec:
    if dtype == np.bool_:
        return DataSpec(event, support=Support.UNIT_INTERVAL, levels=2, bin_width=1.0, lowest=0.0)
    if dtype == np.uint8:
        return DataSpec(event, levels=256, bin_width=1.0, lowest=0.0)
    return DataSpec(event)
