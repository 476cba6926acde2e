"""Small black and white pictures of one shape, which corekit draws itself."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from corekit.data_spec import DataSpec, Support
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.records import Condition

KINDS = ("ellipse", "rectangle", "triangle")
"""Of the shapes; their numbers are the labels."""


class Shapes2dSplit(Split):
    """Pictures of one split: picture i is a function of (seed, split, i)."""

    def __init__(self, name: str, total: int, side: int, seed: int, *, labels: bool) -> None:
        self.split_name, self.total, self.side = name, total, side
        self.seed, self.labels = seed, labels

    def __len__(self) -> int:
        return self.total

    def name(self, index: int) -> str:
        """Kind and number: ``ellipse/3``."""
        return f"{KINDS[index % len(KINDS)]}/{index}"

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Picture ``index``, float32 ``(1, side, side)``, 0 or 1; nothing is left to chance."""
        if not 0 <= index < self.total:
            raise IndexError(f"Shape {index} does not exist: the split has {self.total}.")
        own = np.random.default_rng(seed_of(self.seed, "shapes2d", self.split_name, int(index)))
        kind = index % len(KINDS)
        picture = draw(KINDS[kind], self.side, own).astype(np.float32)
        condition = Condition(labels=torch.tensor(kind)) if self.labels else None
        return Item(torch.from_numpy(picture[None]), condition)


class Shapes2d(Dataset):
    """Ellipses, rectangles and triangles, white on black, of any place, size and direction.

    Args:
        side: Height and width in pixels.
        size: Training pictures. Picture i is the same in a set of any size.
        held_out: Pictures in "val", and in "test".
        labels: Hand on the kind of the shape.
        seed: Another seed, other shapes.

    Example:
        >>> picture = Shapes2d(side=8, size=3).split("train").get(0, np.random.default_rng(0)).x
        >>> picture.shape, picture.unique()
        (torch.Size([1, 8, 8]), tensor([0., 1.]))
    """

    def __init__(
        self,
        *,
        side: int = 20,
        size: int = 10_000,
        held_out: int = 2_000,
        labels: bool = False,
        seed: int = 0,
    ) -> None:
        if side < 8 or min(size, held_out) < 1:
            raise UsageError(
                "Shapes2d: side must be at least 8, size and held_out at least 1, got "
                f"{side}, {size} and {held_out}."
            )
        self.side, self.labels, self.seed = side, labels, seed
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.data_spec = DataSpec(
            (1, side, side),
            support=Support.UNIT_INTERVAL,
            levels=2,
            bin_width=1.0,
            size=size,
            condition_shapes={"labels": ()} if labels else {},
            lowest=0.0,
        )

    def split(self, name: str) -> Shapes2dSplit:
        """The pictures of one split."""
        if name not in self.sizes:
            raise DataError(f"Shapes2d: split must be one of train, val, test, got '{name}'.")
        return Shapes2dSplit(name, self.sizes[name], self.side, self.seed, labels=self.labels)

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {
            "source": "drawn by corekit.data.shapes2d",
            "side": self.side,
            "sizes": self.sizes,
            "labels": list(KINDS) if self.labels else None,
            "seed": self.seed,
        }


def draw(kind: str, side: int, rng: np.random.Generator) -> np.ndarray:
    """One shape, turned by any angle, its half axes between 3 / 20 and 7 / 20 of the side.

    Shape: bool ``(side, side)``
    """
    angle, middle = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 0.65, 2) * side
    long, wide = rng.uniform(3, 7, 2) / 20 * side
    row, column = np.mgrid[:side, :side] + 0.5
    y, x = row - middle[0], column - middle[1]
    a = (np.cos(angle) * x + np.sin(angle) * y) / long
    b = (np.cos(angle) * y - np.sin(angle) * x) / wide
    if kind == "ellipse":
        return a**2 + b**2 <= 1
    if kind == "rectangle":
        return np.maximum(np.abs(a), np.abs(b)) <= 0.8
    return (b >= -0.7) & (np.abs(a) <= (1 - b) / 1.7)
