"""A normalizing flow as a whole model of data."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.ancestral import SampleBy
from corekit.flows.compose import Factory
from corekit.flows.health import LayerHealth, invertibility, level_errors
from corekit.flows.matching import TrainBy
from corekit.flows.prior import FlowPrior
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws, NoNoise, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import LogProb, weakest
from corekit.interfaces.model import DensityModel, bits
from corekit.interfaces.records import Batch, Condition, LossTerms
from corekit.interfaces.standardization import Standardization
from corekit.interfaces.stochastic import Stochastic


class FlowModel(DensityModel):
    r"""Maximum likelihood with a bijector over a base density.

    Of quantised data a density is modelled as if they were real numbers, unless ``dequantize``
    spreads their levels over bins. Then the likelihood is a probability of levels,

    .. math:: \log P(x) \approx \log p(z) - \log q(z \mid x), \qquad z \sim q(z \mid x)

    bits per dimension follow from it, and samples are levels again. A ``surjection`` behind it adds
    numbers to the data or takes some away, with a term of its own in log p.

    Args:
        data: What it is a model of.
        bijector: Factory of the map from data to latent.
        base: Factory of the base density, standard normal unless given.
        dequantize: Factory of a `Stochastic` map of levels in front of the bijector, or None.
        surjection: Factory of a `Stochastic` map behind that one that keeps no levels, or None.
        classes: Of labels, which become a part of the bijector's context (`FlowPrior`).
        train_by: likelihood, flow_matching or denoising (`FlowPrior`).
        sample_by: inversion, or components of the mixtures that it ends in (`FlowPrior`).

    Shape: batch.x ``(B, *data.event_shape)``; loss and log_prob ``(B,)``, nats.

    Raises:
        ShapeError: If the bijector does not start where the maps in front of it end.
        UsageError: If ``dequantize`` keeps no levels, or ``surjection`` does.
    """

    density: FlowPrior

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        dequantize: Callable[..., Stochastic] | None = None,
        surjection: Callable[..., Stochastic] | None = None,
        classes: int | None = None,
        train_by: TrainBy = "likelihood",
        sample_by: SampleBy = "inversion",
    ) -> None:
        conditions = data.condition_shapes
        context_shape, seen = conditions.get("vector"), data
        front: list[Stochastic | None] = []
        for factory in (dequantize, surjection):
            part = None if factory is None else factory(data=seen, context_shape=context_shape)
            front.append(part)
            if part is not None:
                seen = DataSpec(
                    part.latent_shape, support=part.codomain, condition_shapes=conditions
                )
        density = FlowPrior(
            seen.event_shape,
            conditions,
            bijector=bijector,
            base=base,
            classes=classes,
            train_by=train_by,
            sample_by=sample_by,
        )
        super().__init__(data, density)
        self.dequantize, self.surjection = front
        self.kind = weakest([density.kind, *(part.kind for part in self._front)])
        _check_front(self.dequantize, self.surjection, density)

    def forward(self, batch: Batch, *, phase: str = "main", draws: Randomness = None) -> LossTerms:
        """-log p(x), or of quantised data -log P(x) and bits per dimension."""
        if not self._front:
            return super().forward(batch, phase=phase, draws=draws)
        source = as_draws(draws)
        z, value = self._lifted(batch.x, batch.condition, source)
        return self._of_data(self.density.loss(z, batch.condition, source), value, batch.x)

    def _of_data(self, terms: LossTerms, value: LogProb, x: Tensor) -> LossTerms:
        """The terms of data, from those of what the maps in front made of them."""
        if self.density.train_by != "likelihood":
            return terms
        if terms.units.get("nll") != "nats":
            return terms  # not trained by likelihood
        nll = terms.total - value.value
        named, units = {"nll": nll}, {**terms.units, "nll": "nats"}
        if self.dequantize is not None:
            named["bits_per_dim"] = bits(-nll, x)
            units["bits_per_dim"] = "bits per dimension"
        return LossTerms(nll, named, batch_terms=terms.batch_terms, units=units)

    @hands_on
    def initialize(self, batch: Batch, draws: Randomness = None) -> None:
        """Initialise the maps in front of the bijector, and it from what they make of data."""
        if not self._front:
            return super().initialize(batch, draws)
        z, _ = self._standardized(batch.x)
        for part in self._front:
            z = part.initialize(z, _given(part, batch.condition), as_draws(draws))
        return self.density.initialize(z, batch.condition)

    def standardize(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Let the density, and a surjection, compute with standardised data."""
        if self.dequantize is not None:
            raise UsageError(
                "FlowModel: data must not be standardised and dequantised at once: levels lie on a "
                "grid of their own. Set data.standardize to false, or leave out dequantize."
            )
        if self.surjection is None:
            super().standardize(mean, std)
        else:
            self.add_module("standard", Standardization(mean, std))

    def log_prob(
        self, x: Tensor, condition: Condition | None = None, *, generator: Randomness = None
    ) -> LogProb:
        """log p(x), or of quantised data log P(x), nats, with what it is."""
        if not self._front:
            return super().log_prob(x, condition, generator=generator)
        draws = as_draws(generator)
        z, value = self._lifted(x, condition, draws)
        return self.density.log_prob(z, condition, generator=draws) + value

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
        draws = as_draws(generator)
        drawn = super().sample(
            n, condition, shape=shape, temperature=temperature, generator=draws, **options
        )
        return self._lowered(drawn, condition, draws)

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """z = f(x | condition), of the middle of what is drawn in front of f: no noise."""
        with torch.no_grad():
            u = self.density.standardized(self._lifted(x, condition, NoNoise())[0])
            return self.density.bijector(u, self.density._context(condition))[0]

    def decode(
        self,
        z: Tensor,
        condition: Condition | None = None,
        *,
        generator: Randomness = None,
        **options: Any,
    ) -> Tensor:
        """x = f^-1(z | condition); a level, where data are quantised."""
        with torch.no_grad():
            u, _ = self.density.bijector.inverse(z, self.density._context(condition))
            return self._lowered(self.density.restored(u), condition, as_draws(generator))

    @torch.no_grad()
    def invertibility(
        self, x: Tensor, condition: Condition | None = None, *, estimate: bool = True
    ) -> list[LayerHealth]:
        """Round trip and smallest singular value of the bijector's layers; the whole comes last.

        Args:
            x: A few rows of data; what is drawn in front of the bijector is drawn without noise.
            condition: Of these rows.
            estimate: As for `corekit.flows.health.invertibility`.
        """
        u = self.density.standardized(self._lifted(x, condition, NoNoise())[0])
        context = self.density._context(condition)
        return invertibility(self.density.bijector, u, context, estimate=estimate)

    @torch.no_grad()
    def level_errors(self, x: Tensor, condition: Condition | None = None) -> list[float]:
        """Largest round-trip error of the bijector from each of its levels on, of a few rows."""
        u = self.density.standardized(self._lifted(x, condition, NoNoise())[0])
        return level_errors(self.density.bijector, u, self.density._context(condition))

    @property
    def _front(self) -> list[Stochastic]:
        """The maps in front of the bijector, the first one first."""
        return [part for part in (self.dequantize, self.surjection) if part is not None]

    def _lifted(
        self, x: Tensor, condition: Condition | None, draws: Draws
    ) -> tuple[Tensor, LogProb]:
        """What the density is a density of, and what is added to it."""
        x, value = self._standardized(x)
        for part in self._front:
            x, added = part(x, _given(part, condition), draws)
            value = value + added
        return x, value

    def _standardized(self, x: Tensor) -> tuple[Tensor, LogProb]:
        """What the first map in front gets, and the log-determinant."""
        standard = self._modules.get("standard")
        if isinstance(standard, Standardization):
            return standard(x), LogProb(standard.logdet(x))
        return x, LogProb(x.new_zeros(len(x), dtype=logdet_dtype(x)))

    def _lowered(self, x: Tensor, condition: Condition | None, draws: Draws) -> Tensor:
        """Data, of what the density is a density of."""
        for part in reversed(self._front):
            x = part.inverse(x, _given(part, condition), draws)
        standard = self._modules.get("standard")
        return standard.inverse(x) if isinstance(standard, Standardization) else x


def _given(part: Stochastic, condition: Condition | None) -> Tensor | None:
    """What a map in front of the bijector takes of a condition."""
    takes = part.context_shape is not None
    return Condition.vector_of(condition, type(part).__name__) if takes else None


def _check_front(
    dequantize: Stochastic | None, surjection: Stochastic | None, density: FlowPrior
) -> None:
    for name, part in (("dequantize", dequantize), ("surjection", surjection)):
        if part is not None and part.dequantizes is not (name == "dequantize"):
            other = "surjection" if name == "dequantize" else "dequantize"
            rule = "map levels to real numbers" if name == "dequantize" else "not map levels"
            raise UsageError(
                f"FlowModel: {name} must {rule}, got {type(part).__name__}. Name it in `{other}`."
            )
    last = surjection or dequantize
    if last is not None and density.support not in (last.codomain, Support.REAL):
        what = "dequantisation" if surjection is None else "surjection"
        raise ShapeError(
            f"FlowModel: the bijector must start where the {what} ends ({last.codomain.value}), "
            f"got {density.support.value}."
        )
