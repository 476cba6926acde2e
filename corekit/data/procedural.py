"""Data sets drawn from a density that is known by a formula: no file, and the truth to compare."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.errors import DataError, NoDensity, ShapeError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Batch

Draw = Callable[[np.random.Generator, int, float], np.ndarray]
LogDensity = Callable[[Tensor, float], Tensor]
Table = Mapping[str, tuple[Draw, LogDensity | None]]

_ROWS = 4096  # that a log-density is computed of at once: each takes some kB
_BLOCK = 1024  # points that one generator draws: point i then depends on no size


class ProceduralSplit(Split):
    """Points of one split, drawn on first use: point i is a function of (seed, split, i).

    Args:
        kind: Type and density, which tell streams apart.
        name: Of the split.
        draw: Gives points ``(n, D)``.
        size: Number of points.
        noise: Handed to ``draw``.
        seed: Another seed, other points.
        fresh: Draw every point anew each time it is read, from the reader's random numbers.
    """

    def __init__(
        self,
        kind: tuple[str, str],
        name: str,
        draw: Draw,
        size: int,
        noise: float,
        seed: int,
        *,
        fresh: bool = False,
    ) -> None:
        self.kind, self.split_name, self.draw, self.size = kind, name, draw, size
        self.noise, self.seed, self.fresh = noise, seed, fresh
        self._points: Tensor | None = None

    def __len__(self) -> int:
        return self.size

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Point ``index``, float32 ``(D,)``; only a fresh one takes anything from ``rng``."""
        row = self._checked(index)
        if self.fresh:
            return Item(torch.from_numpy(self.draw(rng, 1, self.noise).astype(np.float32))[0])
        return Item(self.points()[row])

    def get_batch(self, indices: Sequence[int]) -> Batch | None:
        """Points at once; fresh ones have random numbers of their own each."""
        if self.fresh:
            return None
        rows = torch.tensor([self._checked(index) for index in indices], dtype=torch.int64)
        return Batch(self.points()[rows], index=rows)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"Point {index} does not exist: the split has {self.size}.")
        return index

    def points(self) -> Tensor:
        """All points, float32 ``(size, D)``. Do not write to them: they are kept."""
        if self._points is None:
            blocks = [self._block(number) for number in range(-(-self.size // _BLOCK))]
            points = np.concatenate(blocks)[: self.size].astype(np.float32)
            self._points = torch.from_numpy(points)
        return self._points

    def _block(self, number: int) -> np.ndarray:
        key = seed_of(self.seed, *self.kind, self.split_name, number)
        return self.draw(np.random.default_rng(key), _BLOCK, self.noise)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_points": None}  # a worker draws its own


class Procedural(Dataset):
    """Points of a density out of a table of them; a subclass has the table.

    Args:
        density: Which one.
        size: Training points. Point i is the same in a set of any size.
        held_out: Points in "val", and in "test".
        noise: Scales the standard deviations of the density.
        seed: Another seed, other points.
        fresh: Draw each training point anew each time it is read: as many as there are steps.

    Raises:
        DataError: If there is no such density.
        UsageError: If a number is out of range.
    """

    kind: ClassVar[str]
    table: ClassVar[Table]
    features: ClassVar[int]

    def __init__(
        self,
        density: str,
        *,
        size: int = 10_000,
        held_out: int = 2_000,
        noise: float = 1.0,
        seed: int = 0,
        fresh: bool = False,
    ) -> None:
        who = type(self).__name__
        if density not in self.table:
            near = difflib.get_close_matches(density, self.table, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise DataError(
                f"{who}: density must be one of {', '.join(self.table)}, got '{density}'.{hint}"
            )
        if min(size, held_out) < 1 or not noise > 0:
            raise UsageError(
                f"{who}: size and held_out must be at least 1 and noise positive, "
                f"got {size}, {held_out} and {noise}."
            )
        self.density, self.noise, self.seed, self.fresh = density, noise, seed, fresh
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.data_spec = DataSpec((self.features,), size=size)

    def split(self, name: str) -> ProceduralSplit:
        """The points of one split."""
        if name not in self.sizes:
            raise DataError(
                f"{type(self).__name__}: split must be one of train, val, test, got '{name}'."
            )
        draw, _ = self.table[self.density]
        size, fresh = self.sizes[name], self.fresh and name == "train"
        kind = (self.kind, self.density)
        return ProceduralSplit(kind, name, draw, size, self.noise, self.seed, fresh=fresh)

    def log_prob(self, x: Tensor) -> LogProb:
        """The log-density of the data themselves: no model's log-likelihood has a higher mean.

        Shape: x ``(B, D)``; value ``(B,)``, nats, float64.
        Raises: NoDensity: of those that are known by their samples only.
        """
        who = type(self).__name__
        if x.ndim != 2 or x.shape[1] != self.features:
            raise ShapeError(
                f"{who}: x must have shape (batch, {self.features}), got {tuple(x.shape)}."
            )
        _, log_density = self.table[self.density]
        if log_density is None:
            known = ", ".join(name for name, (_, known) in self.table.items() if known)
            raise NoDensity(
                f"{who}: log_prob must be asked of {known}, got '{self.density}', whose density "
                "has no closed form. Compare samples instead."
            )
        parts = x.double().split(_ROWS)
        return LogProb(torch.cat([log_density(part, self.noise) for part in parts]))

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {
            "source": f"drawn by corekit.data.{self.kind}",
            "density": self.density,
            "sizes": self.sizes,
            "noise": self.noise,
            "seed": self.seed,
            "fresh": self.fresh,
        }
