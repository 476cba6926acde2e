"""Priors: the standard normal, and any bijector over a base density."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Factory, make
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density, Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Condition, LossTerms


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
        condition: Shapes of the condition; its ``vector`` becomes the context of the bijector.
        bijector: Factory of f, data to latent.
        base: Factory of the base density, standard normal unless given.

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
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        context_shape = (condition or {}).get("vector")
        self.bijector = make(bijector, self.event_shape, context_shape)
        self.base = (base or StandardNormal)(event_shape=self.bijector.latent_shape, condition=None)
        if self.bijector.codomain is not self.base.support:
            raise ShapeError(
                f"FlowPrior: the base must live where the bijector ends "
                f"({self.bijector.codomain.value}), got {self.base.support.value}."
            )
        self.support = self.bijector.domain
        self.kind = self.base.kind | self.bijector.logdet_kind
        if self.bijector.context_shape is not None:
            self.condition_shapes = {"vector": self.bijector.context_shape}

    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """Initialise the bijector from data."""
        self.bijector.initialize(x, self._context(condition))

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        z, logdet = self.bijector(x, self._context(condition))
        base = self.base.log_prob(z, generator=draws)
        return base + LogProb(logdet, self.bijector.logdet_kind)

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        z, logdet = self.bijector(x, self._context(condition))
        nll = self.base.loss(z, draws=draws).total - logdet
        return LossTerms(nll, {"nll": nll}, units={"nll": "nats"})

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        z = self.base.sample(n, temperature=temperature, generator=draws, **options)
        with torch.no_grad():
            return self.bijector.inverse(z, self._context(condition))[0]

    def _context(self, condition: Condition | None) -> Tensor | None:
        return condition.vector if condition is not None and self.condition_shapes else None
