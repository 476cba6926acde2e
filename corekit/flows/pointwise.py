"""Fixed maps of every element, exact far into both tails."""

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from corekit.data_spec import Shape, Support
from corekit.errors import UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype

Sides = Literal["both", "lower"]


class Pointwise(Bijector):
    """An increasing function of each element without parameters.

    **Implement one.** Write ``_value`` and ``_solve``, which undoes it, and ``_log_slope``, the
    logarithm of the slope at x; it is given x in float32 or wider.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Not used: the map has no context.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.
    """

    def __init__(self, event_shape: Shape, context_shape: Shape | None = None) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)

    @abstractmethod
    def _value(self, x: Tensor) -> Tensor: ...

    @abstractmethod
    def _solve(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_slope(self, x: Tensor) -> Tensor: ...

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._value(x), self._total(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = self._solve(z)
        return x, -self._total(x)

    def _total(self, x: Tensor) -> Tensor:
        return self._log_slope(x.to(logdet_dtype(x))).flatten(1).sum(1)


class Logit(Pointwise):
    r"""The unit interval to the real line, kept away from its ends by a margin.

    .. math:: z = \log\frac{v}{1 - v}, \qquad v = \alpha + (1 - 2\alpha)\, x

    or, with ``sides="lower"``, :math:`v = \alpha + (1 - \alpha)\, x`. With a margin, data on [0, 1]
    have latents in a bounded range, and a latent beyond it a point outside of [0, 1]: it is not
    clipped. Without one, 0 and 1 themselves count as the nearest numbers between them.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Not used: the map has no context.
        alpha: The margin, in [0, 1/2).
        sides: A margin at both ends, or at the lower one only.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If the margin is out of range.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 4.1,
        https://arxiv.org/abs/1605.08803.
    """

    domain = Support.UNIT_INTERVAL

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        alpha: float = 0.05,
        sides: Sides = "both",
    ) -> None:
        super().__init__(event_shape)
        if not 0 <= alpha < 0.5:
            raise UsageError(f"Logit: alpha must lie in [0, 0.5), got {alpha}.")
        if sides not in ("both", "lower"):
            raise UsageError(f"Logit: sides must be both or lower, got {sides!r}.")
        self.alpha, self.width = alpha, 1 - (2 * alpha if sides == "both" else alpha)

    def _value(self, x: Tensor) -> Tensor:
        return _logit(self.alpha + self.width * x)

    def _solve(self, z: Tensor) -> Tensor:
        return (torch.sigmoid(z) - self.alpha) / self.width

    def _log_slope(self, x: Tensor) -> Tensor:
        # v (1 - v) is a product of sigmoids of the logit, exact where v rounds to 0 or 1.
        return math.log(self.width) - _log_sigmoid_slope(_logit(self.alpha + self.width * x))

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        slope = _log_sigmoid_slope(z.to(logdet_dtype(z))) - math.log(self.width)
        return self._solve(z), slope.flatten(1).sum(1)


class Sigmoid(Pointwise):
    """The real line to the unit interval: z = 1 / (1 + exp(-x)).

    Its inverse takes 0 and 1 for the nearest numbers between them.
    """

    codomain = Support.UNIT_INTERVAL

    def _value(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    def _solve(self, z: Tensor) -> Tensor:
        return _logit(z)

    def _log_slope(self, x: Tensor) -> Tensor:
        return _log_sigmoid_slope(x)


class Tanh(Pointwise):
    """The real line to [-1, 1]. Its inverse takes the ends for the nearest numbers between them."""

    codomain = Support.SYMMETRIC_INTERVAL

    def _value(self, x: Tensor) -> Tensor:
        return torch.tanh(x)

    def _solve(self, z: Tensor) -> Tensor:
        end = 1 - torch.finfo(z.dtype).eps / 2
        return torch.where(z.abs() == 1, z * end, z).atanh()

    def _log_slope(self, x: Tensor) -> Tensor:
        return _log_sigmoid_slope(2 * x) + math.log(4)


class Softplus(Pointwise):
    """The real line to the positive numbers: z = log(1 + exp x)."""

    codomain = Support.POSITIVE

    def _value(self, x: Tensor) -> Tensor:
        return -logsigmoid(-x)

    def _solve(self, z: Tensor) -> Tensor:
        z = torch.where(z == 0, torch.finfo(z.dtype).tiny, z)
        return z + torch.log(-torch.expm1(-z))

    def _log_slope(self, x: Tensor) -> Tensor:
        return logsigmoid(x)


class Exp(Pointwise):
    """The real line to the positive numbers: z = exp x."""

    codomain = Support.POSITIVE

    def _value(self, x: Tensor) -> Tensor:
        return x.exp()

    def _solve(self, z: Tensor) -> Tensor:
        return torch.where(z == 0, torch.finfo(z.dtype).tiny, z).log()

    def _log_slope(self, x: Tensor) -> Tensor:
        return x


class LeakyRelu(Pointwise):
    r"""Two slopes: z = x where x is positive, and a x elsewhere.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Not used: the map has no context.
        slope: a, positive.

    Raises:
        UsageError: If the slope is not positive.
    """

    def __init__(
        self, event_shape: Shape, context_shape: Shape | None = None, *, slope: float = 0.01
    ) -> None:
        super().__init__(event_shape)
        if not slope > 0:
            raise UsageError(f"LeakyRelu: slope must be positive, got {slope}.")
        self.slope = slope

    def _value(self, x: Tensor) -> Tensor:
        return torch.where(x >= 0, x, self.slope * x)

    def _solve(self, z: Tensor) -> Tensor:
        return torch.where(z >= 0, z, z / self.slope)

    def _log_slope(self, x: Tensor) -> Tensor:
        return (x < 0).to(x.dtype) * math.log(self.slope)


def _log_sigmoid_slope(x: Tensor) -> Tensor:
    """log s(x) (1 - s(x)) of the sigmoid s."""
    return logsigmoid(x) + logsigmoid(-x)


def _logit(v: Tensor) -> Tensor:
    """log v - log(1 - v); 0 and 1 count as the nearest numbers between them."""
    numbers = torch.finfo(v.dtype)
    v = torch.where(v == 0, numbers.tiny, torch.where(v == 1, 1 - numbers.eps / 2, v))
    return torch.logit(v)
