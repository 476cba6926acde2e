"""Point clouds from an HDF5 file: ``/<category>/<train|val|test>`` -> float ``(n, points, D)``."""

from __future__ import annotations

import difflib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import h5py
import numpy as np

from corekit.data.hdf5_file import Hdf5File, check_finite, contents, plain
from corekit.data.point_clouds import CloudSplit, ScaleMode, coordinate_std
from corekit.data.shapenet import SYNSETS
from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError
from corekit.interfaces.dataset import Dataset

SPLITS = ("train", "val", "test")
LAYOUT = "/<category>/<train|val|test>, each a float array (shapes, points, {dimensions})"


class Block(NamedTuple):
    """One array of the file, and which category it belongs to."""

    path: str
    label: int
    length: int


class Hdf5Split(CloudSplit):
    """The shapes of one split, category by category, row by row."""

    def __init__(
        self,
        file: Hdf5File,
        blocks: Sequence[Block],
        points: int,
        *,
        scale: str,
        global_std: float | None,
        resample: bool,
        labels: bool = False,
    ) -> None:
        how = {"resample": resample, "labels": labels}
        super().__init__(points, scale=scale, global_std=global_std, **how)
        self.file = file
        self.blocks = tuple(blocks)
        self._starts = np.cumsum([0, *(block.length for block in self.blocks)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def label(self, index: int) -> int:
        """The number of the shape's category."""
        return self.place(index)[0].label

    def name(self, index: int) -> str:
        """Group and row: ``03001627/12``."""
        block, row = self.place(index)
        return f"{block.path.split('/')[1]}/{row}"

    def place(self, index: int) -> tuple[Block, int]:
        """The array that shape ``index`` is in, and its row there."""
        which = int(np.searchsorted(self._starts, self._row(index), side="right")) - 1
        return self.blocks[which], index - int(self._starts[which])

    def _read(self, index: int) -> np.ndarray:
        block, row = self.place(index)
        try:
            cloud: np.ndarray = self.file.open()[block.path][row].astype(np.float32)
        except OSError as error:
            raise DataError(
                f"{self.file.path}: {block.path} row {row} cannot be read: {error}"
            ) from error
        self.file.check_whole(f"{block.path} row {row}")
        check_finite(cloud, f"{self.file.path}: {block.path} row {row}")
        return cloud


class Hdf5PointClouds(Dataset):
    """Point clouds of an HDF5 file in the layout of PointFlow's successors.

    The file is a group per category, with an array ``(n, N, D)`` per split. A category is named by
    its group, by the group's attribute ``name``, or, for a ShapeNet synset, by its English name.

    Unlike the reference, nothing is read at start but the sizes; the order is by category, then row
    (`reference_order` gives the shuffled one); the std of ``global_unit`` is that of the training
    split, so that nothing of the test split leaks (``stats="all"``: the reference's).

    Args:
        path: The file.
        categories: Which, in this order (their numbers are the labels), or "all" in the file.
        points: Points per example.
        scale: See `corekit.data.point_clouds.shift_and_scale`.
        resample: Random points of a cloud at each reading, else its first ones.
        dimensions: Coordinates per point, D.
        stats: What the std of ``global_unit`` is taken over.
        labels: Hand the number of the category on as the condition "labels".

    Raises: DataError if the file is missing, is not HDF5, has another layout, lacks a category.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        categories: Sequence[str] | Literal["all"] = "all",
        *,
        points: int = 2048,
        scale: ScaleMode = "shape_unit",
        resample: bool = True,
        dimensions: int = 3,
        stats: Literal["train", "all"] = "train",
        labels: bool = False,
    ) -> None:
        self.file = Hdf5File(path)
        self.points, self.scale, self.resample, self.stats = points, scale, resample, stats
        self.labels = labels
        try:
            layout = _read_layout(self.file, dimensions)
            self.categories = _choose(self.file, layout, categories)
            self.attributes = {k: plain(v) for k, v in self.file.open().attrs.items()}
        finally:
            self.file.close()
        self._blocks = {
            split: [
                Block(f"/{group}/{split}", label, layout[group][split])
                for label, group in enumerate(self.categories)
                if split in layout[group]
            ]
            for split in SPLITS
        }
        self.splits = tuple(split for split in SPLITS if self._blocks[split])
        train_size = sum(block.length for block in self._blocks["train"])
        conditions: dict[str, Shape] = {"labels": ()} if labels else {}
        self.data_spec = DataSpec(
            (points, dimensions), size=train_size or None, condition_shapes=conditions
        )
        self._std: float | None = None

    def split(self, name: str) -> Hdf5Split:
        """The shapes of one split."""
        if name not in self.splits:
            raise DataError(
                f"{self.file.path}: split must be one of {', '.join(self.splits)} "
                f"for {', '.join(self.categories)}, got '{name}'."
            )
        return Hdf5Split(
            self.file,
            self._blocks[name],
            self.points,
            scale=self.scale,
            global_std=self.global_std() if self.scale == "global_unit" else None,
            resample=self.resample,
            labels=self.labels,
        )

    def global_std(self) -> float:
        """Standard deviation of all coordinates of the training split (or of all splits)."""
        if self._std is None:
            names = SPLITS if self.stats == "all" else ("train",)
            self._std = coordinate_std(self._clouds([b for n in names for b in self._blocks[n]]))
        return self._std

    def _clouds(self, blocks: Sequence[Block]) -> Iterator[np.ndarray]:
        for block in blocks:
            array = self.file.open()[block.path]
            for start in range(0, block.length, 256):
                rows = array[start : start + 256]
                check_finite(rows, f"{self.file.path}: {block.path} rows {start} and on")
                yield rows

    def reference_order(self, name: str) -> list[int]:
        """Indices of a split in the reference's order: by row, then shuffled with seed 2020."""
        blocks = self._blocks[name]
        rows = [row for block in blocks for row in range(block.length)]
        order = sorted(range(len(rows)), key=rows.__getitem__)  # stable: categories stay in order
        random.Random(2020).shuffle(order)
        return order

    def describe(self) -> Mapping[str, object]:
        """What the run records: the file and its hash, categories, sizes, attributes (licence)."""
        sizes = {name: sum(b.length for b in self._blocks[name]) for name in self.splits}
        return {
            "path": str(self.file.path),
            "sha256": self.file.sha256(),
            "categories": list(self.categories),
            "sizes": sizes,
            "scale": self.scale,
            "attributes": self.attributes,
        }

    def close(self) -> None:
        """Close the file; the next reading opens it again."""
        self.file.close()


def _read_layout(file: Hdf5File, dimensions: int) -> dict[str, dict[str, int]]:
    """Sizes by group and split. Anything else in the file is left alone."""
    layout: dict[str, dict[str, int]] = {}
    for group, content in file.open().items():
        if not isinstance(content, h5py.Group):
            continue
        for split in SPLITS:
            array = content.get(split)
            if not isinstance(array, h5py.Dataset):
                continue
            if array.ndim != 3 or array.shape[2] != dimensions or array.dtype.kind not in "fiu":
                raise DataError(
                    f"{file.path}: /{group}/{split} must be a float array (shapes, points, "
                    f"{dimensions}), got {array.shape} of {array.dtype}. "
                    "Set `dimensions` if the points have another number of coordinates."
                )
            if array.shape[0]:
                layout.setdefault(group, {})[split] = array.shape[0]
    if not layout:
        raise DataError(
            f"{file.path} must be laid out as {LAYOUT.format(dimensions=dimensions)}. "
            f"Found: {contents(file.open())}."
        )
    return layout


def _choose(
    file: Hdf5File, layout: Mapping[str, object], categories: Sequence[str] | Literal["all"]
) -> tuple[str, ...]:
    """Groups of the wanted categories, each given by group, attribute ``name`` or ShapeNet name."""
    if categories == "all":
        return tuple(layout)
    names = {name: synset for name, synset in SYNSETS.items() if synset in layout}
    for group in layout:
        name = file.open()[group].attrs.get("name")
        if name is not None:
            names[str(plain(name))] = group
    names |= {group: group for group in layout}
    chosen = []
    for wanted in [categories] if isinstance(categories, str) else categories:
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
            raise DataError(
                f"{file.path}: category must be one of {', '.join(sorted(names))}, "
                f"got '{wanted}'.{hint}"
            )
        chosen.append(names[wanted])
    if len(set(chosen)) < len(chosen) or not chosen:
        raise DataError(f"{file.path}: categories must be given once each, got {list(categories)}.")
    return tuple(chosen)
