r"""Colour pictures of one shape, which corekit draws itself, with the numbers that made them.

Every picture is a function of six factors:

==========  ==================================  ==========================================
factor      values                              what
==========  ==================================  ==========================================
shape       ellipse, square, triangle, cross    the label
hue         [0, 1), a circle                    of the shape; 0 is red, 1/3 green, 2/3 blue
size        [0.15, 0.3]                         radius, in heights of the picture
x, y        [0.3, 0.7]                          middle, from the upper left corner
rotation    [0, 1)                              in turns that give the same shape again
==========  ==================================  ==========================================

An ellipse looks the same after half a turn, a square and a cross after a quarter, a triangle after
a third, so a rotation is told as a share of that. Edges are smooth (16 points per pixel).
"""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from corekit.data_spec import pixel_spec
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.records import Condition

KINDS = ("ellipse", "square", "triangle", "cross")
"""Of the shapes; their numbers are the labels."""

FACTORS = ("hue", "size", "x", "y", "rotation")
"""Of the vector that comes with a picture, in this order."""

_TURNS = {"ellipse": 2, "square": 4, "triangle": 3, "cross": 4}  # of which one is a whole turn
_GROUND = 26 / 255  # grey level of the ground
_FINE = 4  # points of a pixel, in each direction


class Shape(NamedTuple):
    """The factors of one picture."""

    kind: str
    hue: float
    size: float
    x: float
    y: float
    rotation: float


def drawn(number: int, rng: np.random.Generator) -> Shape:
    """Independent factors, evenly spread; kinds take turns."""
    hue, rotation = rng.uniform(0, 1, 2)
    x, y = rng.uniform(0.3, 0.7, 2)
    return Shape(KINDS[number % len(KINDS)], hue, rng.uniform(0.15, 0.3), x, y, rotation)


def render(shape: Shape, side: int) -> np.ndarray:
    """The picture, uint8 ``(3, side, side)``."""
    points = (np.arange(side * _FINE) + 0.5) / (side * _FINE)
    angle = 2 * np.pi * shape.rotation / _TURNS[shape.kind]
    across, down = points[None, :] - shape.x, points[:, None] - shape.y
    a = (np.cos(angle) * across + np.sin(angle) * down) / shape.size
    b = (np.cos(angle) * down - np.sin(angle) * across) / shape.size
    cover = _inside(shape.kind, a, b).reshape(side, _FINE, side, _FINE).mean((1, 3))
    colour = np.array(colorsys.hsv_to_rgb(shape.hue, 0.85, 1.0))[:, None, None]
    return np.round(255 * (_GROUND + cover * (colour - _GROUND))).astype(np.uint8)


def _inside(kind: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of points in the frame of a shape of radius 1."""
    if kind == "ellipse":
        return a**2 + (b / 0.55) ** 2 <= 1
    if kind == "square":
        return np.maximum(np.abs(a), np.abs(b)) <= 0.75
    if kind == "triangle":  # its middle is the origin, its corners lie on the circle
        return (b <= 0.5) & (np.sqrt(3) * np.abs(a) - b <= 1)
    thin, long = np.minimum(np.abs(a), np.abs(b)), np.maximum(np.abs(a), np.abs(b))
    return (thin <= 0.28) & (long <= 0.9)


class Shapes32Split(Split):
    """Pictures of one split: picture i is a function of (seed, split, i)."""

    def __init__(self, name: str, total: int, of: Shapes32) -> None:
        self.split_name, self.total, self.side, self.seed = name, total, of.side, of.seed
        self.labels, self.factors, self.range = of.labels, of.factors, of.value_range

    def __len__(self) -> int:
        return self.total

    def name(self, index: int) -> str:
        """Kind and number: ``cross/3``."""
        return f"{KINDS[index % len(KINDS)]}/{index}"

    def shape(self, index: int) -> Shape:
        """The factors of picture ``index``."""
        if not 0 <= index < self.total:
            raise IndexError(f"Picture {index} does not exist: the split has {self.total}.")
        key = seed_of(self.seed, "shapes32", self.split_name, int(index))
        return drawn(index, np.random.default_rng(key))

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Picture ``index``, float32 ``(3, side, side)``; nothing is left to chance."""
        shape, (low, high) = self.shape(index), self.range
        levels = torch.from_numpy(render(shape, self.side)).float()
        condition = None
        if self.labels or self.factors:
            label = torch.tensor(KINDS.index(shape.kind)) if self.labels else None
            vector = torch.tensor(shape[1:], dtype=torch.float32) if self.factors else None
            condition = Condition(vector=vector, labels=label)
        return Item(low + levels * ((high - low) / 255), condition)


class Shapes32(Dataset):
    """Ellipses, squares, triangles and crosses of any colour, size, place and rotation.

    Args:
        side: Height and width in pixels.
        size: Training pictures. Picture i is the same in a set of any size.
        held_out: Pictures in "val", and in "test".
        labels: Hand on the kind of the shape.
        factors: Hand on the other factors as a vector: hue, size, x, y, rotation.
        value_range: What black and white are.
        seed: Another seed, other pictures.

    Shape: x ``(3, side, side)``, 256 levels; vector ``(5,)``.

    Raises:
        UsageError: If a number is out of range.

    Example:
        >>> item = Shapes32(size=3, factors=True).split("train").get(0, np.random.default_rng(0))
        >>> item.x.shape, item.condition.vector.shape
        (torch.Size([3, 32, 32]), torch.Size([5]))
    """

    def __init__(
        self,
        *,
        side: int = 32,
        size: int = 10_000,
        held_out: int = 2_000,
        labels: bool = False,
        factors: bool = False,
        value_range: Sequence[float] = (-1.0, 1.0),
        seed: int = 0,
    ) -> None:
        low, high = value_range
        if side < 8 or min(size, held_out) < 1 or not low < high:
            raise UsageError(
                "Shapes32: side must be at least 8, size and held_out at least 1, and value_range "
                f"rise, got {side}, {size}, {held_out} and {tuple(value_range)}."
            )
        self.side, self.labels, self.factors, self.seed = side, labels, factors, seed
        self.value_range = float(low), float(high)
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.data_spec = pixel_spec(
            (3, side, side),
            self.value_range,
            size=size,
            condition_shapes=conditions(labels=labels, factors=factors),
        )

    def split(self, name: str) -> Shapes32Split:
        """The pictures of one split."""
        if name not in self.sizes:
            raise DataError(f"Shapes32: split must be one of train, val, test, got '{name}'.")
        return Shapes32Split(name, self.sizes[name], self)

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {
            "source": "drawn by corekit.data.shapes32",
            "side": self.side,
            "sizes": self.sizes,
            "labels": list(KINDS) if self.labels else None,
            "factors": list(FACTORS) if self.factors else None,
            "seed": self.seed,
        }


def conditions(*, labels: bool, factors: bool) -> dict[str, tuple[int, ...]]:
    """Shapes of what comes with a picture."""
    vector: dict[str, tuple[int, ...]] = {"vector": (len(FACTORS),)} if factors else {}
    return {**vector, "labels": ()} if labels else vector
