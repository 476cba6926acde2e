"""A data set of points in the plane, drawn from a classic density: no file, the truth is known."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from corekit.data.densities2d import DENSITIES
from corekit.data_spec import DataSpec
from corekit.errors import DataError, NoDensity, ShapeError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Batch

_ROWS = 4096  # that a log-density is computed of at once: each takes some kB
_BLOCK = 1024  # points that one generator draws: point i then depends on no size


class Toy2dSplit(Split):
    """Points of one split, drawn on first use: point i is a function of (seed, split, i)."""

    def __init__(self, name: str, density: str, size: int, noise: float, seed: int) -> None:
        self.split_name, self.density, self.size = name, density, size
        self.noise, self.seed = noise, seed
        self._points: Tensor | None = None

    def __len__(self) -> int:
        return self.size

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Point ``index``, float32 ``(2,)``; nothing about it is left to ``rng``."""
        return Item(self.points()[self._checked(index)])

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """Points at once."""
        rows = torch.tensor([self._checked(index) for index in indices], dtype=torch.int64)
        return Batch(self.points()[rows], index=rows)

    def _checked(self, index: int) -> int:
        if not 0 <= index < self.size:
            raise IndexError(f"Point {index} does not exist: the split has {self.size}.")
        return index

    def points(self) -> Tensor:
        """All points, float32 ``(size, 2)``. Do not write to them: they are kept."""
        if self._points is None:
            blocks = [self._block(number) for number in range(-(-self.size // _BLOCK))]
            points = np.concatenate(blocks)[: self.size].astype(np.float32)
            self._points = torch.from_numpy(points)
        return self._points

    def _block(self, number: int) -> np.ndarray:
        key = seed_of(self.seed, "toy2d", self.density, self.split_name, number)
        draw, _ = DENSITIES[self.density]
        return draw(np.random.default_rng(key), _BLOCK, self.noise)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_points": None}  # a worker draws its own


class Toy2d(Dataset):
    """Moons, a checkerboard, Gaussians, rings, a pinwheel or spirals.

    Args:
        density: Which of `corekit.data.densities2d.DENSITIES`.
        size: Training points. Point i is the same in a set of any size.
        held_out: Points in "val", and in "test".
        noise: Scales the standard deviations of the density; 1 is what papers show.
        seed: Another seed, other points.

    Source: Grathwohl et al., FFJORD, ICLR 2019, figure 2, https://arxiv.org/abs/1810.01367.

    Example:
        >>> data = Toy2d("checkerboard", size=100)
        >>> points = data.split("train").points()
        >>> points.shape, data.log_prob(points).value[0]  # uniform on an area of 32
        (torch.Size([100, 2]), tensor(-3.4657, dtype=torch.float64))
    """

    def __init__(
        self,
        density: str = "moons",
        *,
        size: int = 10_000,
        held_out: int = 2_000,
        noise: float = 1.0,
        seed: int = 0,
    ) -> None:
        if density not in DENSITIES:
            near = difflib.get_close_matches(density, DENSITIES, n=1, cutoff=0.5)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise DataError(
                f"Toy2d: density must be one of {', '.join(DENSITIES)}, got '{density}'.{hint}"
            )
        if min(size, held_out) < 1 or not noise > 0:
            raise UsageError(
                "Toy2d: size and held_out must be at least 1 and noise positive, "
                f"got {size}, {held_out} and {noise}."
            )
        self.density, self.noise, self.seed = density, noise, seed
        self.sizes = {"train": size, "val": held_out, "test": held_out}
        self.data_spec = DataSpec((2,), size=size)

    def split(self, name: str) -> Toy2dSplit:
        """The points of one split."""
        if name not in self.sizes:
            raise DataError(f"Toy2d: split must be one of train, val, test, got '{name}'.")
        return Toy2dSplit(name, self.density, self.sizes[name], self.noise, self.seed)

    def log_prob(self, x: Tensor) -> LogProb:
        """The log-density of the data themselves: no model's log-likelihood has a higher mean.

        Shape: x ``(B, 2)``; value ``(B,)``, nats, float64.
        Raises: NoDensity: of the pinwheel and the spirals, which are known by their samples only.
        """
        if x.ndim != 2 or x.shape[1] != 2:
            raise ShapeError(f"Toy2d: x must have shape (batch, 2), got {tuple(x.shape)}.")
        _, log_density = DENSITIES[self.density]
        if log_density is None:
            known = ", ".join(name for name, (_, known) in DENSITIES.items() if known)
            raise NoDensity(
                f"Toy2d: log_prob must be asked of {known}, got '{self.density}', whose density "
                "has no closed form. Compare samples instead."
            )
        parts = x.double().split(_ROWS)
        return LogProb(torch.cat([log_density(part, self.noise) for part in parts]))

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {
            "source": "drawn by corekit.data.toy2d",
            "density": self.density,
            "sizes": self.sizes,
            "noise": self.noise,
            "seed": self.seed,
        }
