"""The GenerativeModel interface: what the trainer trains and the commands use."""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Randomness
from corekit.interfaces.frozen import Freezable
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.names import MAIN as MAIN
from corekit.interfaces.part_loss import PartLoss
from corekit.interfaces.records import Batch, Condition, LossTerms


class GenerativeModel(Freezable, ABC):
    """A whole model: losses in ``forward``, everything else by name.

    **Implement one.** Take ``data`` (a `DataSpec`) first in the constructor; write ``forward``
    (what DDP wraps) and ``sample``; ``log_prob``, ``encode``, ``decode`` where they exist.

    Attributes:
        data: What the model is a model of.
        kind: What `log_prob` returns; ``none`` if the model has no likelihood.
        phases: Names of the training phases, in the order of a step, each with parameters and an
            optimizer of its own; ``main`` is one of them.
        entry_points: Methods that users call, which a trainer registers with its wrappers.
        part_loss: In place of the model's loss where only some parts are trained: see `narrowed`.
    """

    data: DataSpec
    kind: Likelihood = Likelihood.NONE
    phases: tuple[str, ...] = (MAIN,)
    part_loss: PartLoss | None = None
    entry_points: tuple[str, ...] = (
        "sample",
        "log_prob",
        "bits_per_dim",
        "encode",
        "decode",
        "reconstruct",
        "interpolate",
    )

    @abstractmethod
    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """The loss terms of a batch: what one phase minimises."""

    def phase_of(self, name: str) -> str:
        """The phase that trains a parameter, by the parameter's name; by default ``main``.

        In the other phases the parameter asks for no gradient.
        """
        return MAIN

    def narrowed(self, trained: Collection[str]) -> PartLoss | None:
        """The loss of the parameters of these names alone, where one is cheaper; else None.

        Its gradient with respect to them must be that of ``forward``, up to a factor. A model that
        gives one calls ``part_loss`` in ``forward`` where a trainer has set it.
        """
        return None

    @abstractmethod
    def sample(
        self,
        n: int,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """n samples ``(n, *event_shape)``."""

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x) in nats with what it is.

        Raises:
            NoDensity: If the model has no likelihood.
        """
        raise NoDensity(
            f"{type(self).__name__}: it has no likelihood in nats. Use its loss and its samples."
        )

    def bits_per_dim(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> Tensor:
        r"""-log2 P(x) / D of quantised data, ``(B,)``, of the kind that `log_prob` has.

        .. math:: -\frac{\log p(x) + D \log w}{D \log 2}

        with w the width of a bin: a density is taken to be the same all over it. A model of the
        levels themselves, which gives probabilities, overrides this.

        Raises:
            NoDensity: If the model has no likelihood, or the data have no bins.
        """
        if self.data.bin_width is None:
            raise NoDensity(
                f"{type(self).__name__}: bits_per_dim must know the bin width of the data, got "
                "none. A density alone has no bits: use log_prob."
            )
        found = self.log_prob(x, condition, generator=generator).value
        return bits(found + math.prod(x.shape[1:]) * math.log(self.data.bin_width), x)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The most probable latent of each row."""
        raise UsageError(f"{type(self).__name__}: it has no latent to encode to.")

    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Data from latents."""
        raise UsageError(f"{type(self).__name__}: it has no latent to decode from.")

    def reconstruct(
        self,
        x: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Data from the most probable latent of each row."""
        return self.decode(self.encode(x, condition), condition, generator=generator, **options)

    def interpolate(
        self,
        x: Tensor,
        y: Tensor,
        steps: int,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Data between x and y: from the latents between theirs, under one condition.

        Shape: x, y ``(B, *event_shape)``; ``(B, steps, *event_shape)``, from x to y.
        """
        start, end = self.encode(x, condition), self.encode(y, condition)
        shares = torch.linspace(0, 1, steps, dtype=start.dtype, device=start.device)
        z = torch.stack([self.between(start, end, share) for share in shares], dim=1)
        condition = None if condition is None else condition.repeated(steps)
        made = self.decode(z.flatten(0, 1), condition, generator=generator, **options)
        return made.reshape(x.shape[0], steps, *made.shape[1:])

    def between(self, start: Tensor, end: Tensor, share: Tensor) -> Tensor:
        """The latents that divide two in a share, 0 to 1; on a straight line by default."""
        return torch.lerp(start, end, share)

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Set what depends on data from the whole init set; by default nothing.

        The trainer calls it once, in training mode, before it wraps the model and before the first
        step of a new run: with the same rows and draws in every process.
        """

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Compute with data of mean 0 and standard deviation 1; give and take them as they are.

        The build calls it where the data set asks for it (``DataSpec.mean``). Pass it to the parts
        that see data: `Density` and `Encoder` know how.

        Raises:
            UsageError: Unless a model has this method.
        """
        raise UsageError(
            f"{type(self).__name__}: it cannot undo a standardisation, and the data set asks for "
            "one. Set data.standardize to false."
        )

    def scheduled(self) -> list[Any]:
        """The parts that have a schedule: those with ``at_step``."""
        return [part for part in self.modules() if part is not self and hasattr(part, "at_step")]

    def at_step(self, step: int) -> None:
        """Tell every part that has a schedule how many optimizer steps have been taken."""
        for part in self.scheduled():
            part.at_step(step)


def bits(nats: Tensor, x: Tensor) -> Tensor:
    """Bits per dimension of events x ``(B, ...)`` whose log-probabilities in nats are given."""
    return -nats / (math.prod(x.shape[1:]) * math.log(2))


class DensityModel(GenerativeModel):
    """A density over the data as a whole model: a flow, a diffusion.

    Args:
        data: What it is a model of.
        density: p(x | condition) over ``data.event_shape``.
    """

    def __init__(self, data: DataSpec, density: Density) -> None:
        super().__init__()
        self.data, self.density, self.kind = data, density, density.kind

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """The loss of the density."""
        terms = self.density.loss(batch.x, batch.condition, draws)
        return terms._replace(seen={f"density.{path}": v for path, v in terms.seen.items()})

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the density from data."""
        self.density.initialize(self.density.standardized(batch.x), batch.condition)

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let the density compute with standardised data."""
        self.density.standardize(mean, std)

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x), nats, with what it is."""
        return self.density.log_prob(x, condition, generator=generator)

    def sample(
        self,
        n: int,
        condition: Condition | None = None,
        *,
        shape: Shape | None = None,
        temperature: float = 1.0,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """Draw n samples ``(n, *event_shape)``; options are those of the density."""
        return self.density.sample(
            n, condition, shape=shape, temperature=temperature, generator=generator, **options
        )
