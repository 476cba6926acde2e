"""A normalizing flow as a whole model of data."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Factory
from corekit.flows.matching import TrainBy
from corekit.flows.prior import FlowPrior
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.model import DensityModel, bits
from corekit.interfaces.records import Batch, Condition, LossTerms
from corekit.interfaces.stochastic import Stochastic


class FlowModel(DensityModel):
    r"""Maximum likelihood with a bijector over a base density.

    Of quantised data a density is modelled as if they were real numbers, unless ``dequantize``
    spreads their levels over bins. Then the likelihood is a probability of levels,

    .. math:: \log P(x) \approx \log p(z) - \log q(z \mid x), \qquad z \sim q(z \mid x)

    bits per dimension follow from it, and samples are levels again.

    Args:
        data: What it is a model of.
        bijector: Factory of the map from data to latent.
        base: Factory of the base density, standard normal unless given.
        dequantize: Factory of a `Stochastic` map in front of the bijector, or None.
        train_by: likelihood, or flow_matching for a bijector with a velocity (`FlowPrior`).

    Shape: batch.x ``(B, *data.event_shape)``; loss and log_prob ``(B,)``, nats.

    Raises:
        ShapeError: If the bijector does not start where the dequantisation ends.
    """

    density: FlowPrior

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        dequantize: Callable[..., Stochastic] | None = None,
        train_by: TrainBy = "likelihood",
    ) -> None:
        noise = None if dequantize is None else dequantize(data=data, context_shape=None)
        shape = data.event_shape if noise is None else noise.latent_shape
        density = FlowPrior(
            shape, data.condition_shapes, bijector=bijector, base=base, train_by=train_by
        )
        super().__init__(data, density)
        self.dequantize = noise
        if noise is not None:
            self.kind = density.kind | noise.kind
            if density.support not in (noise.codomain, Support.REAL):
                raise ShapeError(
                    f"FlowModel: the bijector must start where the dequantisation ends "
                    f"({noise.codomain.value}), got {density.support.value}."
                )

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """-log p(x), or of quantised data -log P(x) and bits per dimension."""
        if self.dequantize is None:
            return super().forward(batch, phase=phase, draws=draws)
        source = as_draws(draws)
        z, weight = self.dequantize(batch.x, generator=source)
        terms = self.density.loss(z, batch.condition, source)
        if self.density.train_by != "likelihood":
            return terms
        if terms.units.get("nll") != "nats":
            return terms  # not trained by likelihood
        nll = terms.total - weight.value
        return LossTerms(
            nll,
            {"nll": nll, "bits_per_dim": bits(-nll, batch.x)},
            batch_terms=terms.batch_terms,
            units={**terms.units, "nll": "nats", "bits_per_dim": "bits per dimension"},
        )

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the bijector from data, dequantised if it is told to."""
        if self.dequantize is None:
            return super().initialize(batch, draws)
        z, _ = self.dequantize(batch.x, generator=draws)
        return self.density.initialize(z, batch.condition)

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let the density compute with standardised data."""
        if self.dequantize is not None:
            raise UsageError(
                "FlowModel: data must not be standardised and dequantised at once: levels lie on a "
                "grid of their own. Set data.standardize to false, or leave out dequantize."
            )
        super().standardize(mean, std)

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x), or of quantised data log P(x), nats, with what it is."""
        if self.dequantize is None:
            return super().log_prob(x, condition, generator=generator)
        draws = as_draws(generator)
        z, weight = self.dequantize(x, generator=draws)
        return self.density.log_prob(z, condition, generator=draws) + weight

    def bits_per_dim(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> Tensor:
        """-log2 P(x) / D, ``(B,)``.

        Raises:
            NoDensity: If the data have no bins: a density alone has no bits.
        """
        if self.dequantize is None:
            return super().bits_per_dim(x, condition, generator=generator)
        return bits(self.log_prob(x, condition, generator=generator).value, x)

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
        """Draw n samples ``(n, *event_shape)``: levels, where data are quantised."""
        drawn = super().sample(
            n, condition, shape=shape, temperature=temperature, generator=generator, **options
        )
        return drawn if self.dequantize is None else self.dequantize.inverse(drawn)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """z = f(x), of the middle of a bin where data are quantised: no noise."""
        with torch.no_grad():
            if self.dequantize is not None:
                x = self.dequantize(x, generator=NoNoise())[0]
            u = self.density.standardized(x)
            return self.density.bijector(u, self.density._context(condition))[0]

    def decode(self, z: Tensor, *, generator: Randomness = None, **options: Any) -> Tensor:
        """x = f^-1(z); a level, where data are quantised."""
        with torch.no_grad():
            x = self.density.restored(self.density.bijector.inverse(z)[0])
            return x if self.dequantize is None else self.dequantize.inverse(x)


class NoNoise(Draws):
    """The middle of every distribution in place of a draw: no noise."""

    def uniform(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """One half."""
        return torch.full(shape, 0.5, dtype=like.dtype, device=like.device)

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """Zero."""
        return torch.zeros(shape, dtype=like.dtype, device=like.device)
