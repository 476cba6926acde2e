"""Pictures of shapes beside their clouds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from corekit.data.array_files import open_arrays
from corekit.data.fingerprint import file_sha256
from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.rows import Rows
from corekit.data_spec import Shape
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Condition


class ViewsSplit(Split):
    """The clouds of another split, each with one of its pictures as the condition "image"."""

    def __init__(self, of: Split, pictures: Rows, rows: Sequence[int], *, first: bool) -> None:
        self.of, self.pictures, self.rows, self.first = of, pictures, tuple(rows), first

    def __len__(self) -> int:
        return len(self.of)

    def name(self, index: int) -> str:
        """As there."""
        return self.of.name(index)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Cloud ``index``, and a picture of its shape."""
        x, condition = self.of.get(index, rng)
        pictures = self.pictures.row(self.rows[index])  # (views, H, W), uint8
        picture = pictures[0 if self.first else rng.integers(len(pictures))]
        image = torch.from_numpy(picture.astype(np.float32) / 127.5 - 1).unsqueeze(0)
        return Item(x, (condition or Condition())._replace(image=image))


class Views(Dataset):
    """Clouds of an HDF5 file, and beside each cloud a grey picture of the same shape.

    The pictures lie in an ``.npz`` file: ``x`` uint8 ``(n, views, H, W)``, and for each of the n
    where its shape is in the HDF5 file: ``group``, ``split`` (names, or numbers into
    ``group_names`` and ``split_names``) and ``row``. For training one view is drawn at each visit;
    held-out examples come with their first.

    Args:
        path: The file of pictures.
        of: The clouds.
        size: Height and width of a picture.

    Shape: condition.image ``(1, size, size)``, in [-1, 1].

    Raises:
        DataError: If the file is not as said, or lacks a shape.
        UsageError: If the clouds are of no HDF5 file, or come with a picture already.
    """

    def __init__(self, path: str | os.PathLike[str], *, of: Dataset, size: int = 64) -> None:
        if not isinstance(of, Hdf5PointClouds) or "image" in of.data_spec.condition_shapes:
            raise UsageError(
                f"Views: of must be a pointcloud.hdf5, got {type(of).__name__}. The file of "
                "pictures tells the group, split and row of each shape."
            )
        self.path, self.of, self.splits = Path(path), of, of.splits
        self.pictures, self._rows = _read(self.path, size)
        shapes = {**of.data_spec.condition_shapes, "image": (1, size, size)}
        self.data_spec = replace(of.data_spec, condition_shapes=shapes)

    def split(self, name: str) -> ViewsSplit:
        """One split of the clouds."""
        of = self.of.split(name)
        places = [of.place(index) for index in range(len(of))]
        wanted = [(block.path.split("/")[1], name, row) for block, row in places]
        lacking = [place for place in wanted if place not in self._rows]
        if lacking:
            group, split, row = lacking[0]
            raise DataError(
                f"{self.path}: there must be a picture of every shape, got none of {group}/{split} "
                f"row {row} and {len(lacking) - 1} more. Leave their categories out."
            )
        rows = [self._rows[place] for place in wanted]
        return ViewsSplit(of, self.pictures, rows, first=name != "train")

    def describe(self) -> Mapping[str, object]:
        """What the run records: of both files."""
        pictures = {"pictures": str(self.path), "pictures_sha256": file_sha256(self.path)}
        return {**self.of.describe(), **pictures}

    def close(self) -> None:
        """Close the file of the clouds; the next reading opens it again."""
        self.of.close()


def _read(path: Path, size: int) -> tuple[Rows, dict[tuple[str, str, int], int]]:
    """The pictures, unread, and the row of each (group, split, row of the HDF5 file)."""
    pictures = open_arrays(path).get("x")
    if pictures is None or pictures.dtype != np.uint8 or not _fits(pictures.shape, size):
        found = "none" if pictures is None else f"{pictures.shape} of {pictures.dtype}"
        raise DataError(
            f"{path}: x must be pictures (n, views, {size}, {size}) of uint8, got {found}. Set "
            "`size` if they have another."
        )
    with np.load(path, allow_pickle=False) as archive:
        missing = [name for name in ("group", "split", "row") if name not in archive.files]
        if missing:
            raise DataError(
                f"{path}: must say where each shape is by group, split and row, got no "
                f"'{missing[0]}'. It has: {', '.join(archive.files)}."
            )
        names = [_named(archive, key) for key in ("group", "split")]
        rows = [int(row) for row in archive["row"]]
    return pictures, {place: i for i, place in enumerate(zip(*names, rows, strict=True))}


def _fits(shape: Shape, size: int) -> bool:
    return len(shape) == 4 and shape[1] > 0 and shape[2:] == (size, size)


def _named(archive: Mapping[str, np.ndarray], key: str) -> list[str]:
    """The names of an array of names, or of numbers of them."""
    values, names = archive[key], f"{key}_names"
    if values.dtype.kind in "iu" and names in archive:
        values = archive[names][values]
    return [str(value) for value in values]
