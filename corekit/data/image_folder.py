"""A folder of image files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from corekit.data.fingerprint import fingerprint
from corekit.data.folders import licence_file
from corekit.data.image_names import class_of, find_splits
from corekit.data.pixels import MODES, level_values, read_pixels
from corekit.data_spec import Shape, pixel_spec
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Condition


class ImageSplit(Split):
    """The images of one split, read when they are asked for.

    Args:
        root: The folder.
        names: Paths below it.
        labels: The number of each one's class, or None.
        size, channels: See `corekit.data.pixels.read_pixels`.
        values: Of each 8-bit level, float32 ``(256,)``.
        flip: Mirror half of the images.
        shape: What all must have.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: Sequence[int] | None,
        *,
        size: int | None,
        channels: int,
        values: np.ndarray,
        flip: bool,
        shape: Shape,
    ) -> None:
        self.root, self.names, self.labels = root, names, labels
        self.size, self.channels, self.values = size, channels, values
        self.flip, self.shape = flip, shape

    def __len__(self) -> int:
        return len(self.names)

    def name(self, index: int) -> str:
        """The path below the folder."""
        return self.names[index]

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Image ``index``, float32 ``(channels, height, width)``, perhaps mirrored."""
        pixels = self.raw(index)
        if self.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        x = torch.from_numpy(self.values.take(pixels.transpose(2, 0, 1)))
        return Item(x, self.condition(index))

    def condition(self, index: int) -> Condition | None:
        """The class of an image, where labels were asked for."""
        if self.labels is None:
            return None
        return Condition(labels=torch.tensor(self.labels[index]))

    def raw(self, index: int) -> np.ndarray:
        """Image ``index``, uint8 ``(height, width, channels)``."""
        if not 0 <= index < len(self.names):
            raise IndexError(f"Image {index} does not exist: the split has {len(self.names)}.")
        path = self.root / self.names[index]
        pixels = read_pixels(path, self.size, self.channels)
        if pixels.shape[:2] != self.shape[1:]:
            raise DataError(
                f"{path}: must be {self.shape[2]} x {self.shape[1]} like the first image, got "
                f"{pixels.shape[1]} x {pixels.shape[0]}. Set `size`, to resize and crop all."
            )
        return pixels


class ImageFolder(Dataset):
    """Image files below a folder, of any depth.

    Where the folder has a sub-folder "train" and no others, or also "val" or "test", these are the
    splits and what is outside of them is left alone. Otherwise ``held_out`` of all images are taken
    for "val", and for "test"; where "val" alone is missing, it is taken from "train".

    Only names are read at start; an image is read and resized each time that it is asked for, so
    large pictures are better converted once (``corekit data convert``).

    Args:
        path: The folder.
        size: Height and width of an example: `corekit.data.pixels.resize_and_crop`. None leaves
            images as they are; then all must be alike.
        channels: 1 (grey), 3 (RGB) or 4 (with alpha); images are converted.
        labels: The class of an image: "folder" takes the first folder below the path (and below
            the split), "prefix" what comes before the first "_" of the file's name. Classes are
            numbered in the order of their names, over all splits.
        flip: Mirror half of the training images, drawn anew at each visit.
        value_range: What 8-bit levels 0 and 255 become.
        bits: How many of 8 bits are kept, the highest ones.
        held_out: Share of the images in "val", and in "test".
        source, licence: Recorded with the run; a file LICENSE in the folder is quoted otherwise.

    Raises: DataError if there is no such folder, no image in it, or an image without a class.

    Source: openai/improved-diffusion, improved_diffusion/image_datasets.py: order, resizing
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: int | None = None,
        channels: int = 3,
        labels: Literal["folder", "prefix"] | None = None,
        flip: bool = False,
        value_range: tuple[float, float] = (-1.0, 1.0),
        bits: int = 8,
        held_out: float = 0.1,
        source: str | None = None,
        licence: str | None = None,
    ) -> None:
        if channels not in MODES or (size is not None and size < 1):
            raise UsageError(
                "ImageFolder: channels must be 1, 3 or 4 and size at least 1, "
                f"got {channels} and {size}."
            )
        self.root = Path(path)
        self.size, self.channels, self.labels, self.flip = size, channels, labels, flip
        self.value_range = value_range
        self.source, self.licence = source, licence
        self._values = level_values(value_range, bits)
        self._names, below = find_splits(self.root, held_out)
        self.splits = tuple(self._names)
        classes = {
            split: [class_of(self.root, name, labels, below) for name in names]
            for split, names in self._names.items()
            if labels is not None
        }
        self.classes = tuple(sorted({name for names in classes.values() for name in names}))
        number = {name: i for i, name in enumerate(self.classes)}
        self._labels = {split: [number[n] for n in names] for split, names in classes.items()}
        self.data_spec = pixel_spec(
            self._event_shape(),
            value_range,
            size=len(self._names["train"]),
            condition_shapes={"labels": ()} if labels else {},
            bits=bits,
        )

    def split(self, name: str) -> ImageSplit:
        """The images of one split."""
        if name not in self._names:
            known = ", ".join(self.splits)
            raise DataError(f"{self.root}: split must be one of {known}, got '{name}'.")
        return ImageSplit(
            self.root,
            self._names[name],
            self._labels.get(name),
            size=self.size,
            channels=self.channels,
            values=self._values,
            flip=self.flip and name == "train",
            shape=self.data_spec.event_shape,
        )

    def describe(self) -> Mapping[str, object]:
        """What the run records: the files and their hash, sizes, classes, licence."""
        return {
            "path": str(self.root),
            "source": self.source,
            "licence": self.licence or licence_file(self.root),
            **self._fingerprint,
            "sizes": {split: len(names) for split, names in self._names.items()},
            "classes": list(self.classes),
            "event_shape": list(self.data_spec.event_shape),
            "value_range": list(self.value_range),
        }

    @cached_property
    def _fingerprint(self) -> dict[str, object]:
        return fingerprint(self.root, [name for names in self._names.values() for name in names])

    def _event_shape(self) -> Shape:
        if self.size is not None:
            return (self.channels, self.size, self.size)
        first = read_pixels(self.root / self._names["train"][0], None, self.channels)
        return (self.channels, *first.shape[:2])
