"""The GenerativeModel interface: what the trainer trains and the commands use."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from corekit.data_spec import DataSpec, Shape
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Randomness
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Batch, Condition, LossTerms


class GenerativeModel(nn.Module, ABC):
    """A whole model: losses in ``forward``, everything else by name.

    **Implement one.** Take ``data`` (a `DataSpec`) first in the constructor; write ``forward``
    (what DDP wraps) and ``sample``; ``log_prob``, ``encode``, ``decode`` where they exist.

    Attributes:
        data: What the model is a model of.
        kind: What `log_prob` returns; ``none`` if the model has no likelihood.
        phases: Names of the training phases, each with an optimizer of its own.
        entry_points: Methods that users call, which a trainer registers with its wrappers.
    """

    data: DataSpec
    kind: Likelihood = Likelihood.NONE
    phases: tuple[str, ...] = ("main",)
    entry_points: tuple[str, ...] = ("sample", "log_prob")

    @abstractmethod
    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """The loss terms of a batch."""

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

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """The most probable latent of each row."""
        raise UsageError(f"{type(self).__name__}: it has no latent to encode to.")

    def decode(self, z: Tensor, *, generator: Randomness = None, **options: Any) -> Tensor:
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
        return self.decode(self.encode(x, condition), generator=generator, **options)

    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Set what depends on data from the whole init set; by default nothing.

        The trainer calls it once, in training mode, before it wraps the model and before the first
        step of a new run: with the same rows and draws in every process.
        """

    def scheduled(self) -> list[Any]:
        """The parts that have a schedule: those with ``at_step``."""
        return [part for part in self.modules() if part is not self and hasattr(part, "at_step")]

    def at_step(self, step: int) -> None:
        """Tell every part that has a schedule how many optimizer steps have been taken."""
        for part in self.scheduled():
            part.at_step(step)


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

    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the density from data."""
        self.density.initialize(batch.x, batch.condition)

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
