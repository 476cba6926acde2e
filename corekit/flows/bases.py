"""Base densities of flows: uniform, logistic, Gaussian, mixtures."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from corekit.data_spec import Shape, Support
from corekit.errors import UsageError
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.network import Network
from corekit.interfaces.records import Condition
from corekit.nn.mlp import Mlp

Family = Literal["normal", "logistic"]
_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class _Standard(Prior):
    """Independent elements of one fixed law, without parameters."""

    anchor: Tensor

    def __init__(self, event_shape: Shape, condition: Mapping[str, Shape] | None = None) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype, device


class Uniform(_Standard):
    r"""Independent elements, uniform on the unit interval.

    .. math:: \log p(x) = 0 \text{ on } [0, 1]^D, \qquad -\infty \text{ elsewhere}

    Both ends belong to it: in float32 a distribution function is 1 for finite arguments. For exact
    tails let the map before end on the real line, over `Logistic` or the standard normal.

    Args:
        event_shape: Shape of x without the batch.
        condition: Not used: it is unconditional.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.

    Raises:
        UsageError: If it is sampled at a temperature above 1, which leaves the interval.

    Example:
        >>> Uniform((2,)).log_prob(torch.tensor([[0.0, 1.0], [0.5, 1.5]])).value
        tensor([0., -inf])
    """

    support = Support.UNIT_INTERVAL

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        flat = x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))
        inside = (flat >= 0) & (flat <= 1)
        return LogProb(torch.where(inside, 0 * flat, -math.inf).sum(1))  # 0 x: has a gradient

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        if not 0 <= temperature <= 1:
            raise UsageError(
                f"Uniform: temperature must lie in [0, 1], got {temperature}. Above 1 samples "
                "would leave the unit interval."
            )
        u = 0.5 + temperature * (_open_uniform(draws, (n, *shape), self.anchor) - 0.5)
        # Rounding may make a 1 of the greatest numbers, where quantiles are infinite.
        return u.to(self.anchor.dtype).clamp(max=1 - torch.finfo(self.anchor.dtype).eps / 2)


class Logistic(_Standard):
    r"""Independent standard logistic elements: what the logit of a uniform number follows.

    .. math:: \log p(x) = \sum_d \log \sigma(x_d) + \log \sigma(-x_d)

    Args:
        event_shape: Shape of x without the batch.
        condition: Not used: it is unconditional.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.
    """

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        return LogProb(_log_density("logistic", _wide(x).flatten(1)).sum(1))

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        return temperature * _noise("logistic", draws, (n, *shape), self.anchor)


class _Learned(Prior):
    """A density whose parameters are learned, or fixed, or computed from a condition."""

    start: Tensor
    net: Network | None

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None,
        start: Tensor,
        net: NetworkFactory | None,
        *,
        learn: bool = True,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        vector = (condition or {}).get("vector") if learn else None
        self.net = None
        if learn:
            self.start = nn.Parameter(start)
        else:
            self.register_buffer("start", start)
        if vector is not None:
            self.condition_shapes = {"vector": tuple(vector)}
            shape = tuple(start.shape)
            self.net = (net or Mlp)(in_shape=tuple(vector), out_shape=shape, context_shape=None)

    @hands_on
    def initialize(self, x: Tensor, condition: Condition | None = None) -> None:
        """The network starts from the vectors of the condition."""
        if self.net is not None:
            self.net.initialize(Condition.vector_of(condition, type(self).__name__))

    def _parameters_of(self, condition: Condition | None) -> Tensor:
        """``(B, *start.shape)``, or ``(1, ...)`` if they are the same for all rows."""
        start = _wide(self.start)[None]
        if self.net is None:
            return start
        return start + self.net(Condition.vector_of(condition, type(self).__name__))


class Gaussian(_Learned):
    r"""Independent Gaussian elements of a mean and a scale each.

    .. math:: \log p(x \mid c) = \sum_d -\tfrac12 \Big(\frac{x_d - \mu_d(c)}{e^{s_d(c)}}\Big)^2
        - s_d(c) - \tfrac12 \log 2\pi

    Without a condition mean and log-scale are learned, or fixed. With the condition's ``vector`` a
    network adds to both, so that it is a conditional base.

    Args:
        event_shape: Shape of x without the batch.
        condition: Shapes of the condition; its ``vector`` is used, if it is learned.
        mean: Where the means start.
        scale: Where the scales start, positive.
        learn: Whether they move from there.
        net: Factory of the network from the vector to means and log-scales; a perceptron, zero at
            first, unless given.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.
    """

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        mean: float = 0.0,
        scale: float = 1.0,
        learn: bool = True,
        net: NetworkFactory | None = None,
    ) -> None:
        if not scale > 0:
            raise UsageError(f"Gaussian: scale must be positive, got {scale}.")
        ones = torch.ones(tuple(event_shape))
        start = torch.stack((mean * ones, math.log(scale) * ones))
        super().__init__(event_shape, condition, start, net, learn=learn)

    def parameters_of(self, condition: Condition | None) -> tuple[Tensor, Tensor]:
        """Means and log-scales, ``(B, *event_shape)``, or of one row if they are all the same."""
        mean, log_scale = self._parameters_of(condition).unbind(1)
        return mean, log_scale

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        mean, log_scale = self.parameters_of(condition)
        each = _log_density("normal", (_wide(x) - mean) * (-log_scale).exp()) - log_scale
        return LogProb(each.flatten(1).sum(1))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        mean, log_scale = self.parameters_of(condition)
        noise = _noise("normal", draws, (n, *shape), self.start)
        return (mean + temperature * log_scale.exp() * noise).to(self.start.dtype)


class Mixture(_Learned):
    r"""A mixture of K densities over the whole event, each of independent elements.

    .. math:: p(x \mid c) = \sum_k w_k \prod_d
        e^{-s_{kd}}\, f\Big(\frac{x_d - \mu_{kd}}{e^{s_{kd}}}\Big), \qquad w = softmax(logits)

    f is the standard normal or logistic density. For a mixture of its own for every element use an
    elementwise mixture distribution function.

    Args:
        event_shape: Shape of x without the batch.
        condition: Shapes of the condition; from its ``vector`` a network moves all parameters.
        components: K.
        family: normal or logistic.
        spread: Standard deviation of the locations at the start; they are drawn at random.
        net: Factory of the network from the vector; a perceptron, zero at first, unless given.

    Shape: x ``(B, *event_shape)``; log_prob ``(B,)``, nats.
    """

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        components: int = 8,
        family: Family = "normal",
        spread: float = 1.0,
        net: NetworkFactory | None = None,
    ) -> None:
        if components < 1:
            raise UsageError(f"Mixture: components must be at least 1, got {components}.")
        if family not in ("normal", "logistic"):
            raise UsageError(f"Mixture: family must be normal or logistic, got {family!r}.")
        self.components, self.family = components, family
        size = math.prod(event_shape)
        # Of each component: D locations, D log-scales and a logit.
        start = torch.cat(
            (spread * torch.randn(components, size), torch.zeros(components, size + 1)), 1
        )
        super().__init__(event_shape, condition, start, net)

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        loc, log_scale, log_weight = self._components(condition)
        u = (_wide(x).flatten(1)[:, None] - loc) * (-log_scale).exp()  # (B, K, D)
        each = (_log_density(self.family, u) - log_scale).sum(2)
        return LogProb(torch.logsumexp(each + log_weight, dim=1))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        loc, log_scale, log_weight = (
            part.expand(n, *part.shape[1:]) for part in self._components(condition)
        )
        u = draws.uniform("component", (n,), self.start.double())
        below = log_weight.double().exp().cumsum(1) <= u[:, None]
        chosen = below.sum(1).clamp(max=self.components - 1)  # rounding may leave a rest
        rows = torch.arange(n, device=chosen.device)
        noise = _noise(self.family, draws, (n, loc.shape[2]), self.start)
        x = loc[rows, chosen] + temperature * log_scale[rows, chosen].exp() * noise
        return x.to(self.start.dtype).reshape(n, *shape)

    def _components(self, condition: Condition | None) -> tuple[Tensor, Tensor, Tensor]:
        """Locations and log-scales ``(B or 1, K, D)``, log-weights ``(B or 1, K)``."""
        params = self._parameters_of(condition)
        size = (params.shape[2] - 1) // 2
        loc, log_scale, logit = params.split((size, size, 1), dim=2)
        return loc, log_scale, torch.log_softmax(logit[:, :, 0], dim=1)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _log_density(family: Family, u: Tensor) -> Tensor:
    """log f of a standard law, element by element."""
    if family == "logistic":
        return logsigmoid(u) + logsigmoid(-u)
    return -0.5 * u.square() - _LOG_SQRT_2PI


def _noise(family: Family, draws: Draws, shape: Shape, like: Tensor) -> Tensor:
    """Numbers of a standard law."""
    if family == "normal":
        return draws.normal("base", shape, like)
    return torch.logit(_open_uniform(draws, shape, like)).to(like.dtype)


def _open_uniform(draws: Draws, shape: Shape, like: Tensor) -> Tensor:
    """float64 in (0, 1): the generator's 0 is moved to half of its step."""
    return draws.uniform("base", shape, like.double()).clamp(min=2.0**-54)
