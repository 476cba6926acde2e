"""Priors: the standard normal, and any bijector over a base density."""

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.ancestral import SampleBy, by_components, check_components
from corekit.flows.compose import Factory, make
from corekit.flows.matching import NEEDED, Denoises, HasVelocity, TrainBy, matching_loss
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density, Prior
from corekit.interfaces.drawing import drawing
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Condition, LossTerms
from corekit.nn.one_hot import one_hot


class StandardNormal(Prior):
    r"""Independent standard normal features.

    .. math:: \log p(x) = -\tfrac12 \sum_d x_d^2 - \tfrac D2 \log 2\pi

    Args:
        event_shape: Shape of x without the batch.
        condition: Not used: it is unconditional.
        features: If given, must be the number of features; it only guards against a mismatch.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.

    Example:
        >>> StandardNormal((2,)).log_prob(torch.zeros(1, 2)).value
        tensor([-1.8379])
    """

    anchor: Tensor

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        features: int | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        if features is not None and self.event_shape != (features,):
            raise ShapeError(
                f"StandardNormal: features must equal the latent width, got {features} for a "
                f"latent of shape {self.event_shape}. Leave it out: it is inferred."
            )
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype, device

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        flat = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
        constant = 0.5 * flat.shape[1] * math.log(2 * math.pi)
        return LogProb(-0.5 * flat.square().sum(1) - constant)

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        *,
        truncate: float | None = None,
        **options: Any,
    ) -> Tensor:
        if truncate is None:
            return temperature * draws.normal("base", (n, *shape), self.anchor)
        if not truncate > 0:
            raise UsageError(
                f"StandardNormal: truncate must be a positive number of sd, got {truncate}."
            )
        # Inverse CDF, symmetric about 0: exact, and one draw per number whatever the bound.
        u = draws.uniform("base", (n, *shape), self.anchor.double())
        bound = math.erf(truncate / math.sqrt(2))
        cut = math.sqrt(2) * torch.erfinv((2 * u - 1) * bound)
        return (temperature * cut).to(self.anchor.dtype)


class FlowPrior(Prior):
    r"""A bijector over a base density: a model of data, or the prior of a latent model.

    .. math:: \log p(x \mid c) = \log p_{base}(f(x \mid c)) + \log|\det \partial f / \partial x|

    Args:
        event_shape: Shape of x without the batch.
        condition: Shapes of the condition; its ``vector`` becomes the context of the bijector, and
            the whole is offered to the base, which may take it or not.
        bijector: Factory of f, data to latent.
        classes: If given, the context begins with the one-hot class of the condition's ``labels``,
            0 to classes - 1; the null label -1 is all zeros.
        base: Factory of the base density, standard normal unless given.
        train_by: likelihood; flow_matching for a bijector with a velocity (`matching_loss`);
            denoising for one that is a diffusion (`ddpm.probability_flow`).
        sample_by: inversion, or components: draw from the mixtures that the flow ends in, where it
            does, instead of inverting them (`corekit.flows.ancestral`). ``sample(components=...)``
            overrules it.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.
    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015,
        https://arxiv.org/abs/1505.05770.
    """

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
        classes: int | None = None,
        train_by: TrainBy = "likelihood",
        sample_by: SampleBy = "inversion",
    ) -> None:
        super().__init__()
        self.event_shape, self.classes = tuple(event_shape), classes
        vector = (condition or {}).get("vector")
        context_shape = vector
        if classes is not None:
            _check_classes(classes, condition or {})
            context_shape = (classes + math.prod(vector or (0,)),)
        self.bijector = make(bijector, self.event_shape, context_shape)
        self.base = (base or StandardNormal)(
            event_shape=self.bijector.latent_shape, condition=condition
        )
        if self.bijector.codomain is not self.base.support:
            raise ShapeError(
                f"FlowPrior: the base must live where the bijector ends "
                f"({self.bijector.codomain.value}), got {self.base.support.value}."
            )
        needed, such = NEEDED.get(train_by, (Bijector, ""))
        if not isinstance(self.bijector, needed):
            raise UsageError(
                f"FlowPrior: train_by '{train_by}' must have a bijector {such}, got "
                f"{type(self.bijector).__name__}."
            )
        if sample_by == "components":
            check_components(self.bijector, self.base)
        self.train_by, self.sample_by = train_by, sample_by
        self.support = self.bijector.domain
        self.kind = self.base.kind | self.bijector.logdet_kind
        self._vector = vector is not None and self.bijector.context_shape is not None
        self.condition_shapes = dict(self.base.condition_shapes)
        if self._vector and vector is not None:
            self.condition_shapes["vector"] = tuple(vector)
        if classes is not None and self.bijector.context_shape is not None:
            self.condition_shapes["labels"] = ()

    @hands_on
    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """Initialise the bijector from data, and the base from what it makes of them."""
        z = self.bijector.initialize(x, self._context(condition))
        self.base.initialize(z, self._of_base(condition))

    def to_base(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """f(x | c): where x comes from, in the base."""
        with self._noise(as_draws(None)):
            return self.bijector(self.standardized(x), self._context(condition))[0]

    def from_base(self, w: Tensor, condition: Condition | None = None) -> Tensor:
        """The way back of `to_base`."""
        with self._noise(as_draws(None)):
            return self.restored(self.bijector.inverse(w, self._context(condition))[0])

    def scored(
        self, x: Tensor, condition: Condition | None = None, draws: Randomness = None
    ) -> tuple[Tensor, LossTerms]:
        """z and -log p(x | condition) of one pass, for a loss that looks at z too."""
        self._check("x", x, condition)
        z, terms = self._scored(self.standardized(x), condition, as_draws(draws))
        return z, self._terms_of_data(terms, x)

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        with self._noise(draws):
            z, logdet = self.bijector(x, self._context(condition))
        base = self.base.log_prob(z, self._of_base(condition), generator=draws)
        return base + LogProb(logdet, self.bijector.logdet_kind)

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        if self.train_by == "flow_matching" and isinstance(self.bijector, HasVelocity):
            z = self.base.sample(len(x), self._of_base(condition), generator=draws)
            return matching_loss(self.bijector, x, z.to(x.dtype), self._context(condition), draws)
        if self.train_by == "denoising" and isinstance(self.bijector, Denoises):
            terms = self.bijector.denoising_loss(x, self._context(condition), draws)
            return terms._replace(seen={f"bijector.{path}": v for path, v in terms.seen.items()})
        return self._scored(x, condition, draws)[1]

    def _scored(
        self, x: Tensor, condition: Condition | None, draws: Draws
    ) -> tuple[Tensor, LossTerms]:
        with self._noise(draws):
            z, logdet = self.bijector(x, self._context(condition))
        nll = self.base.loss(z, self._of_base(condition), draws).total - logdet
        return z, LossTerms(nll, {"nll": nll}, units={"nll": "nats"})

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        *,
        components: bool | None = None,
        **options: Any,
    ) -> Tensor:
        if self.sample_by == "components" if components is None else components:
            if options.get("truncate") is not None:
                raise UsageError(
                    "FlowPrior: truncate must not be given where samples are drawn by components, "
                    f"got {options['truncate']}: no base is drawn. Invert (components=False)."
                )
            context = self._context(condition)
            return by_components(self.bijector, self.base, n, context, temperature, draws)
        given = self._of_base(condition)
        z = self.base.sample(n, given, temperature=temperature, generator=draws, **options)
        with torch.no_grad(), self._noise(draws):
            return self.bijector.inverse(z, self._context(condition))[0]

    def _noise(self, draws: Draws) -> AbstractContextManager[None]:
        """A block in which an estimated log-determinant takes its noise from the draws."""
        exact = self.bijector.logdet_kind is Likelihood.EXACT
        return nullcontext() if exact else drawing(draws)

    def _context(self, condition: Condition | None) -> Tensor | None:
        """What the bijector takes of a condition."""
        if self.bijector.context_shape is None or condition is None:
            return None
        if self.classes is None or condition.labels is None:
            return condition.vector
        parameter = next(self.bijector.parameters(), torch.zeros(()))
        given = one_hot("FlowPrior", condition.labels, self.classes).to(parameter.dtype)
        if not self._vector:
            return given
        vector = Condition.vector_of(condition, "FlowPrior").flatten(1)
        return torch.cat((given, vector.to(given.dtype)), dim=1)

    def _of_base(self, condition: Condition | None) -> Condition | None:
        """What the base takes of it."""
        return condition if self.base.condition_shapes else None


def _check_classes(classes: int, condition: Mapping[str, Shape]) -> None:
    if classes < 1 or "labels" not in condition:
        raise UsageError(
            f"FlowPrior: classes must be at least 1, of data with labels, got {classes} and the "
            f"conditions {', '.join(condition) or 'none'}. Let the data hand on labels."
        )
