"""Where random numbers come from: one seam for sampling, training, resuming and golden tests."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError


def seed_of(*key: int | str) -> int:
    """A 63-bit seed from any key: independent streams from one seed, the same on every platform."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


class Draws:
    """Random numbers from one generator, or from torch's global one.

    Numbers are drawn in float32 or wider and cast, so float16 and bfloat16 runs see the same noise.
    Every draw has a name, which other sources (`GivenDraws`) use and this one ignores.

    Args:
        generator: Where the numbers come from.
        rank: Which part of a batch the rows are that are drawn for, of several processes.
        world: How many parts the batch has.
        common: Where `shared` numbers come from: of the same seed in all processes. They come from
            the generator, where there is none.
    """

    def __init__(
        self,
        generator: torch.Generator | None = None,
        *,
        rank: int = 0,
        world: int = 1,
        common: torch.Generator | None = None,
    ) -> None:
        self.generator, self.rank, self.world = generator, rank, world
        self.common = common

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """Standard normal numbers of a shape, with the dtype and device of ``like``."""
        return self._draw(torch.randn, shape, like)

    def uniform(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1) of a shape, with the dtype and device of ``like``."""
        return self._draw(torch.rand, shape, like)

    def integers(self, name: str, high: int, shape: Shape, device: torch.device) -> Tensor:
        """Integers 0 ... high-1 of a shape, int64."""
        where = self.generator.device if self.generator else device
        return torch.randint(high, shape, generator=self.generator, device=where).to(device)

    def shared(self, name: str, like: Tensor) -> Tensor:
        """One uniform number ``()`` in [0, 1), the same for all rows and in all processes."""
        if self.common is None:
            return self.uniform(name, (), like)
        return Draws(self.common).uniform(name, (), like)

    def mark(self) -> Callable[[], None]:
        """A function that goes back to here: what is drawn from now on is then drawn again.

        Without a generator it does nothing: torch's own is for its user to restore.
        """
        states = [(g, g.get_state()) for g in (self.generator, self.common) if g is not None]

        def back() -> None:
            for generator, state in states:
                generator.set_state(state)

        return back

    def _draw(self, make: Callable[..., Tensor], shape: Shape, like: Tensor) -> Tensor:
        wide = torch.promote_types(like.dtype, torch.float32)
        where = self.generator.device if self.generator else like.device
        numbers = make(shape, generator=self.generator, dtype=wide, device=where)
        return numbers.to(like.device, like.dtype)


class NoNoise(Draws):
    """The middle of every distribution in place of a draw: no noise."""

    def uniform(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """One half."""
        return torch.full(shape, 0.5, dtype=like.dtype, device=like.device)

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros(shape, dtype=like.dtype, device=like.device)


class RowDraws(Draws):
    """Row i draws from its own generator: it gets the same numbers in any batch.

    Args:
        seed: Of the whole sample set.
        rows: The number of each row in the sample set. Row r depends on (seed, r) alone.

    Of several draws per row, a multiple of the rows is asked for: all rows of the first draw, then
    of the second ...

    Numbers are made on the CPU, so they are the same on every device.
    """

    def __init__(self, seed: int, rows: Sequence[int]) -> None:
        super().__init__()
        self.generators = [torch.Generator().manual_seed(seed_of(seed, "row", r)) for r in rows]

    def mark(self) -> Callable[[], None]:
        """A function that takes every row back to here."""
        states = [generator.get_state() for generator in self.generators]

        def back() -> None:
            for generator, state in zip(self.generators, states, strict=True):
                generator.set_state(state)

        return back

    def shared(self, name: str, like: Tensor) -> Tensor:
        """The number of the first row; one half, where there is no row."""
        wide = torch.promote_types(like.dtype, torch.float32)
        found = [torch.rand((), generator=g, dtype=wide) for g in self.generators]
        return (found[0] if found else torch.full((), 0.5)).to(like.device, like.dtype)

    def _draw(self, make: Callable[..., Tensor], shape: Shape, like: Tensor) -> Tensor:
        wide = torch.promote_types(like.dtype, torch.float32)
        made = self._by_row("a draw", shape, lambda of, g: make(of, generator=g, dtype=wide))
        return (torch.empty(shape, dtype=wide) if made is None else made).to(
            like.device, like.dtype
        )

    def integers(self, name: str, high: int, shape: Shape, device: torch.device) -> Tensor:
        """Integers 0 ... high-1 of a shape, int64, row by row."""
        made = self._by_row(name, shape, lambda of, g: torch.randint(high, of, generator=g))
        return (torch.empty(shape, dtype=torch.int64) if made is None else made).to(device)

    def _by_row(
        self, name: str, shape: Shape, make: Callable[[Shape, torch.Generator], Tensor]
    ) -> Tensor | None:
        """What each generator makes of its share of a shape, draw by draw; None without rows."""
        rows = len(self.generators)
        if not shape or (shape[0] % rows if rows else shape[0]) or (rows and not shape[0]):
            raise ShapeError(
                f"RowDraws: '{name}' must have {rows} rows, one per generator, or a multiple of "
                f"them, got shape {shape}."
            )
        if not rows:
            return None
        share = (shape[0] // rows, *shape[1:])
        return torch.stack([make(share, g) for g in self.generators], dim=1).flatten(0, 1)


class GivenDraws(Draws):
    """Named numbers given beforehand: golden tests, and the same noise in two processes.

    Args:
        given: name -> tensor. A sequence of tensors is used one after the other.
    """

    def __init__(self, given: Mapping[str, Tensor | Sequence[Tensor]]) -> None:
        super().__init__()
        self.given = {k: [v] if isinstance(v, Tensor) else list(v) for k, v in given.items()}

    def mark(self) -> Callable[[], None]:
        """A function that gives back what is taken from now on."""
        left = {name: list(values) for name, values in self.given.items()}

        def back() -> None:
            self.given = {name: list(values) for name, values in left.items()}

        return back

    def _take(self, name: str, shape: Shape) -> Tensor:
        if not self.given.get(name):
            raise UsageError(
                f"GivenDraws: no numbers left for '{name}'. Given: {', '.join(self.given)}."
            )
        value = self.given[name].pop(0)
        if tuple(value.shape) != tuple(shape):
            raise ShapeError(
                f"GivenDraws: '{name}' must have shape {tuple(shape)}, got {tuple(value.shape)}."
            )
        return value

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """The numbers given under this name."""
        return self._take(name, shape).to(like.device, like.dtype)

    uniform = normal

    def integers(self, name: str, high: int, shape: Shape, device: torch.device) -> Tensor:
        """The integers given under this name."""
        return self._take(name, shape).to(device)


Randomness = torch.Generator | Draws | None
"""What every sampling function accepts."""


def as_draws(source: Randomness) -> Draws:
    """A `Draws` from a generator, from None (torch's global generator), or itself."""
    return source if isinstance(source, Draws) else Draws(source)
