"""Surjections: numbers that are added to the data, or taken away, and their log-density."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import bounded
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.draws import Draws, Randomness
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.network import Network
from corekit.interfaces.stochastic import Stochastic
from corekit.nn.convnet import ConvNet
from corekit.nn.mlp import Mlp


class _Normal(nn.Module):
    """Independent Gaussian elements whose means and log-deviations a network or nothing decides."""

    net: Network | None

    def __init__(
        self,
        who: str,
        seen_shape: Shape,
        shape: Shape,
        context_shape: Shape | None,
        net: NetworkFactory | None,
        max_log_scale: float | None,
        *,
        conditional: bool,
    ) -> None:
        super().__init__()
        if max_log_scale is not None and not max_log_scale > 0:
            raise UsageError(f"{who}: max_log_scale must be positive, got {max_log_scale}.")
        if net is not None and not conditional:
            raise UsageError(f"{who}: conditional must be true for a net, got false. Leave it out.")
        self.max_log_scale = max_log_scale
        if conditional:
            make = net or (ConvNet if len(seen_shape) == 3 else Mlp)
            self.net = make(in_shape=seen_shape, out_shape=(2, *shape), context_shape=context_shape)
        else:
            self.net, self.raw = None, nn.Parameter(torch.zeros(2, *shape))

    @hands_on
    def initialize(self, seen: Tensor, context: Tensor | None = None) -> None:
        """The network starts from what it sees."""
        if self.net is not None:
            self.net.initialize(seen, context)

    def draw(self, eps: Tensor, seen: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """mean + std eps and its log-density, for standard normal eps ``(B, *shape)``."""
        mean, log_std = self._mean_and_log_std(seen, context)
        return mean + log_std.exp() * eps, self._log_density(eps, log_std)

    def log_prob(self, value: Tensor, seen: Tensor, context: Tensor | None) -> Tensor:
        """log N(value), ``(B,)``, nats."""
        mean, log_std = self._mean_and_log_std(seen, context)
        return self._log_density((value - mean) * (-log_std).exp(), log_std)

    def _log_density(self, eps: Tensor, log_std: Tensor) -> Tensor:
        each = -0.5 * eps.square() - log_std - 0.5 * math.log(2 * math.pi)
        return each.flatten(1).sum(1)

    def _mean_and_log_std(self, seen: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        out = self.raw[None] if self.net is None else self.net(seen, context)
        mean, raw = out.to(torch.promote_types(seen.dtype, torch.float32)).unbind(1)
        bound = self.max_log_scale
        return mean, bounded(raw, bound)


class Augment(Stochastic):
    r"""Put numbers of a Gaussian beside the data, so that a flow has more room.

    .. math:: z = (x, e), \quad e \sim N(\mu(x), \sigma(x)^2), \qquad
        -\log q(z \mid x) = -\log N(e; \mu(x), \sigma(x)^2)

    ``log p(x, e) - log q(e | x)`` is, on average, below log p(x) by the divergence of q from
    p(e | x). On the unit interval e is the logistic of a Gaussian number, so that what follows sees
    one support. Images get more channels.

    Args:
        data: Event shape and support; the first axis grows.
        context_shape: Shape of the context of the network, or None.
        extra: Features or channels of e.
        conditional: Whether e depends on x (and the context); else mean and deviation are learned
            numbers, and no context is taken.
        net: Factory of the network from x to mean and raw log-deviation ``(2, *shape of e)``; a
            perceptron, or for images convolutions, unless given.
        max_log_scale: m: log sigma = m tanh(raw / m), nats; None for no bound.

    Shape: x ``(B, D, ...)``; z ``(B, D + extra, ...)``, float32 at least. Draws:
        ``normal("augment")``.

    Raises:
        ShapeError: If x is neither real nor in the unit interval.

    Source: Nielsen et al., SurVAE Flows, NeurIPS 2020, section 3 and table 3, "slicing, generative
        direction", https://arxiv.org/abs/2007.02731; Huang et al., Augmented Normalizing Flows,
        2020, eq. 3, https://arxiv.org/abs/2002.07101.

    Example:
        >>> z, weight = Augment(DataSpec((2,)), extra=3)(torch.zeros(4, 2))
        >>> z.shape, weight.value.shape
        (torch.Size([4, 5]), torch.Size([4]))
    """

    def __init__(
        self,
        data: DataSpec,
        context_shape: Shape | None = None,
        *,
        extra: int = 1,
        conditional: bool = True,
        net: NetworkFactory | None = None,
        max_log_scale: float | None = 7.0,
    ) -> None:
        super().__init__()
        _check(self, data, (Support.REAL, Support.UNIT_INTERVAL))
        if extra < 1:
            raise UsageError(f"Augment: extra must be at least 1, got {extra}.")
        self.event_shape, self.extra = tuple(data.event_shape), extra
        self.domain = self.codomain = data.support
        self.context_shape = _given(context_shape, conditional)
        self.noise = _Normal(
            "Augment",
            self.event_shape,
            (extra, *self.event_shape[1:]),
            self.context_shape,
            net,
            max_log_scale,
            conditional=conditional,
        )

    @property
    def latent_shape(self) -> Shape:
        """That of x, its first axis longer."""
        return self.event_shape[0] + self.extra, *self.event_shape[1:]

    @hands_on
    def initialize(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> Tensor:
        """The network starts from x."""
        self._check("x", x, self.event_shape, context)
        self.noise.initialize(x, context)
        return super().initialize(x, context, generator)

    def _forward(self, x: Tensor, context: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        shape = (len(x), self.extra, *self.event_shape[1:])
        e, log_q = self.noise.draw(draws.normal("augment", shape, wide), x, context)
        if self.codomain is Support.UNIT_INTERVAL:
            log_slope = nn.functional.logsigmoid(e) + nn.functional.logsigmoid(-e)
            e, log_q = torch.sigmoid(e), log_q - log_slope.flatten(1).sum(1)
        return torch.cat((wide, e.to(wide.dtype)), dim=1), -log_q

    def _inverse(self, z: Tensor, context: Tensor | None, draws: Draws) -> Tensor:
        return z[:, : self.event_shape[0]]


class Slice(Stochastic):
    r"""Keep the first features or channels, and model the others given these by a Gaussian.

    .. math:: x = (z, y), \qquad \log p(x) = \log p(z) + \log N(y; \mu(z), \sigma(z)^2)

    The log-likelihood is exact; the way back draws y. A `Split` (bijector ``split``) has the same
    density and keeps y as standard normal latents, so that it can be inverted.

    Args:
        data: Event shape; the first axis shrinks.
        context_shape: Shape of the context of the network, or None.
        drop: Features or channels of y, the last ones.
        conditional: Whether y depends on what is kept (and the context); else mean and deviation
            are learned numbers, and no context is taken.
        net: Factory of the network from z to mean and raw log-deviation ``(2, *shape of y)``; a
            perceptron, or for images convolutions, unless given.
        max_log_scale: m: log sigma = m tanh(raw / m), nats; None for no bound.

    Shape: x ``(B, D, ...)``; z ``(B, D - drop, ...)``. Draws, in the inverse: ``normal("slice")``.

    Raises:
        ShapeError: If nothing would be left, or x is not real.

    Source: Nielsen et al., SurVAE Flows, NeurIPS 2020, section 3 and table 3, "slicing, inference
        direction", https://arxiv.org/abs/2007.02731.

    Example:
        >>> z, log_prob = Slice(DataSpec((3,)), drop=2)(torch.zeros(1, 3))
        >>> z.shape, log_prob.value.shape, log_prob.kind.value
        (torch.Size([1, 1]), torch.Size([1]), 'exact')
    """

    kind = Likelihood.EXACT
    draws_in = "inverse"

    def __init__(
        self,
        data: DataSpec,
        context_shape: Shape | None = None,
        *,
        drop: int = 1,
        conditional: bool = True,
        net: NetworkFactory | None = None,
        max_log_scale: float | None = 7.0,
    ) -> None:
        super().__init__()
        _check(self, data, (Support.REAL,))
        self.event_shape = tuple(data.event_shape)
        if not 1 <= drop < self.event_shape[0]:
            raise ShapeError(
                f"Slice: drop must be from 1 to {self.event_shape[0] - 1} for the event shape "
                f"{self.event_shape}, got {drop}."
            )
        self.kept, rest = self.event_shape[0] - drop, self.event_shape[1:]
        self.dropped_shape = (drop, *rest)
        self.context_shape = _given(context_shape, conditional)
        self.dropped = _Normal(
            "Slice",
            self.latent_shape,
            self.dropped_shape,
            self.context_shape,
            net,
            max_log_scale,
            conditional=conditional,
        )

    @property
    def latent_shape(self) -> Shape:
        """That of x, its first axis shorter."""
        return self.kept, *self.event_shape[1:]

    @hands_on
    def initialize(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> Tensor:
        """The network starts from what is kept."""
        self._check("x", x, self.event_shape, context)
        self.dropped.initialize(x[:, : self.kept], context)
        return super().initialize(x, context, generator)

    def _forward(self, x: Tensor, context: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        z, y = x.tensor_split((self.kept,), dim=1)
        wide = torch.promote_types(x.dtype, torch.float32)
        return z, self.dropped.log_prob(y.to(wide), z, context)

    def _inverse(self, z: Tensor, context: Tensor | None, draws: Draws) -> Tensor:
        wide = z.to(torch.promote_types(z.dtype, torch.float32))
        eps = draws.normal("slice", (len(z), *self.dropped_shape), wide)
        y, _ = self.dropped.draw(eps, z, context)
        return torch.cat((z, y.to(z.dtype)), dim=1)


def _check(part: Stochastic, data: DataSpec, supports: tuple[Support, ...]) -> None:
    who = type(part).__name__
    if not data.event_shape:
        raise ShapeError(f"{who}: the data must have an axis of features, got the event shape ().")
    if data.support not in supports:
        known = " or ".join(support.value for support in supports)
        raise ShapeError(f"{who}: the data must be {known}, got {data.support.value}.")


def _given(context_shape: Shape | None, conditional: bool) -> Any:
    return tuple(context_shape) if context_shape is not None and conditional else None
