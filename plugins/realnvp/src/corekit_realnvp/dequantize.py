"""Dequantisation: noise that spreads each level of the data over a bin, and its log-density."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError
from corekit.flows.compose import Factory, make
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.draws import Draws, Randomness, as_draws
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.stochastic import Stochastic


class _Dequantize(Stochastic):
    """What dequantisers share: from levels to bins of the unit interval, and back."""

    codomain = Support.UNIT_INTERVAL
    dequantizes = True

    def __init__(self, data: DataSpec, context_shape: Shape | None = None) -> None:
        super().__init__()
        if data.levels is None or data.bin_width is None or data.lowest is None:
            raise ShapeError(
                f"{type(self).__name__}: the data must have levels, got levels={data.levels}, "
                f"bin_width={data.bin_width}, lowest={data.lowest}. Leave it out for data that "
                "are not quantised."
            )
        self.event_shape = tuple(data.event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.domain = data.support
        self.levels, self.bin_width, self.lowest = data.levels, data.bin_width, data.lowest
        self.constant = math.prod(self.event_shape) * math.log(self.levels)

    def _level(self, x: Tensor) -> Tensor:
        """The number of the nearest level, float32 at least."""
        wide = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        return ((wide - self.lowest) / self.bin_width).round().clamp(0, self.levels - 1)

    def _spread(self, level: Tensor, u: Tensor) -> Tensor:
        """(level + u) / levels, moved by rounding errors where that leaves the bin."""
        z = (level + u) / self.levels
        inside = z.detach()
        for _ in range(2):  # one step may round back
            found = (inside * self.levels).floor()
            towards = torch.where(found > level, 0.0, torch.where(found < level, 1.0, inside))
            inside = torch.nextafter(inside, towards.to(inside.dtype))
        return z + (inside - z.detach())

    def _inverse(self, z: Tensor, context: Tensor | None, draws: Draws) -> Tensor:
        level = (z.detach() * self.levels).floor().clamp(0, self.levels - 1)
        return self.lowest + self.bin_width * level


class UniformDequantize(_Dequantize):
    r"""Add uniform noise: the bin of a level k of L becomes the interval [k / L, (k + 1) / L).

    .. math:: z = (k + u) / L, \quad u \sim U[0, 1)^D, \qquad -\log q(z \mid x) = -D \log L

    ``log p(z) - D log L`` is then, on average of its exponential, the log-probability of the image
    in nats: divided by -D log 2, bits per dimension. A uniform density of z has exactly log2(L).

    Args:
        data: Levels and event shape; level k is lowest + k bin_width.
        context_shape: Not used: the noise depends on nothing.

    Shape: x ``(B, *data.event_shape)``, in units of the data; z the same, in [0, 1), float32 at
        least. Draws: ``uniform("dequantize")``.

    Raises:
        ShapeError: If the data have no levels.

    Source: Theis et al., A note on the evaluation of generative models, ICLR 2016, section 3.1,
        https://arxiv.org/abs/1511.01844.

    Example:
        >>> data = DataSpec((3, 4, 4), levels=4, bin_width=1.0, lowest=0.0)
        >>> z, weight = UniformDequantize(data)(torch.zeros(1, 3, 4, 4))
        >>> bool((z < 0.25).all()), -weight.value / (48 * math.log(2))
        (True, tensor([2.]))
    """

    def __init__(self, data: DataSpec, context_shape: Shape | None = None) -> None:
        super().__init__(data)

    def _forward(self, x: Tensor, context: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        level = self._level(x)
        z = self._spread(level, draws.uniform("dequantize", tuple(x.shape), level))
        return z, torch.full_like(z.flatten(1).sum(1), -self.constant)


class VariationalDequantize(_Dequantize):
    r"""Add noise that a flow makes from normal noise, given the image: a tighter bound.

    .. math::
        z = (k + u) / L, \quad u = \sigma(f^{-1}(\epsilon \mid x)), \quad \epsilon \sim N(0, I),
        \qquad -\log q(z \mid x) = -\log q(u \mid x) - D \log L

    Trained by E[log p(z) - log q], which bounds log P(x) from below, together with the model: the
    noise learns to be what the model finds likely. Each draw is a weight.

    Args:
        data: Levels and event shape.
        context_shape: Not used yet beside the image.
        bijector: Factory of f, from noise to normal noise, called with the event shape and, as
            context, the shape of the image: it gets the levels scaled to [-1, 1].

    Shape: x ``(B, *data.event_shape)``, in units of the data; z the same, in [0, 1), float32 at
        least. Draws: ``normal("dequantize")``.

    Raises:
        ShapeError: If the data have no levels, or f does not map the shape to itself.

    Source: Ho et al., Flow++, ICML 2019, section 3.1, https://arxiv.org/abs/1902.00275.
    """

    def __init__(
        self,
        data: DataSpec,
        context_shape: Shape | None = None,
        *,
        bijector: "Factory | Bijector",
    ) -> None:
        super().__init__(data)
        self.bijector = make(bijector, self.event_shape, self.event_shape)
        if self.bijector.latent_shape != self.event_shape or not self.bijector.has_inverse:
            raise ShapeError(
                f"VariationalDequantize: the bijector must map {self.event_shape} to itself and "
                f"have an inverse, got the latent shape {self.bijector.latent_shape}."
            )
        self.kind = Likelihood.WEIGHT | self.bijector.logdet_kind

    @hands_on
    def initialize(
        self, x: Tensor, context: Tensor | None = None, generator: Randomness = None
    ) -> Tensor:
        """The flow of the noise starts from normal noise: it runs backwards here."""
        self._check("x", x, self.event_shape, context)
        draws = as_draws(generator)
        eps = draws.normal("dequantize", tuple(x.shape), x)
        self.bijector.initialize_inverse(eps, self._seen(x))
        return super().initialize(x, context, draws)

    def _forward(self, x: Tensor, context: Tensor | None, draws: Draws) -> tuple[Tensor, Tensor]:
        level = self._level(x)
        eps = draws.normal("dequantize", tuple(x.shape), x)
        raw, logdet = self.bijector.inverse(eps, self._seen(x))
        raw = raw.to(level.dtype)
        z = self._spread(level, torch.sigmoid(raw))
        log_slope = logsigmoid(raw) + logsigmoid(-raw)
        log_eps = -0.5 * (eps.to(level.dtype).square() + math.log(2 * math.pi))
        value = logdet + (log_slope - log_eps).flatten(1).sum(1)
        return z, value - self.constant

    def _seen(self, x: Tensor) -> Any:
        """The levels, scaled to [-1, 1]."""
        if self.bijector.context_shape is None:
            return None
        return (2 * self._level(x) / max(self.levels - 1, 1) - 1).to(x.dtype)
