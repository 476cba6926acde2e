"""The planar flow."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.bijector import Bijector, logdet_dtype

NEWTON_STEPS = 30  # to float64, for w'û from -1 + 1e-9 to 1e9; see the tests


class Planar(Bijector):
    r"""Push the data along one direction, by how far they are from a plane.

    .. math::
        z = x + \hat u \tanh(w^\top x + b), \qquad
        \log |\det \partial z / \partial x| = \log |1 + \hat u^\top w \,(1 - \tanh^2(w^\top x + b))|

    The map is one to one if :math:`w^\top \hat u > -1`, so u is free and its part along w is not:

    .. math::
        \hat u = u + \big(m(w^\top u) - w^\top u\big) \frac{w}{\|w\|^2}, \qquad
        m(a) = -1 + \log(1 + (e - 1)\, e^a)

    The paper has :math:`m(a) = -1 + \log(1 + e^a)`; ours has m(0) = 0, so that a new layer, with
    u = 0, is the identity.

    The inverse has no closed form. With :math:`s = w^\top x + b`, multiplying z by w leaves one
    increasing equation per row, which Newton's method solves:

    .. math:: s + w^\top \hat u \, \tanh s = w^\top z + b, \qquad x = z - \hat u \tanh s

    Args:
        event_shape: ``(D,)``.
        context_shape: Not used: the map has no context.
        steepness: Length of w in a new layer.

    Shape:
        - x, z: ``(B, D)``
        - logdet: ``(B,)``, nats; float64 if x is, else float32

    Raises:
        ShapeError: If the event is not a vector, or a tensor has another shape.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, eq. 10-12
        and appendix A.1, https://arxiv.org/abs/1505.05770.

    Example:
        >>> layer = Planar((2,))
        >>> z, logdet = layer(torch.randn(3, 2))
        >>> z.shape, logdet.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    def __init__(
        self, event_shape: Shape, context_shape: Shape | None = None, *, steepness: float = 1.0
    ) -> None:
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Planar: event_shape must be (features,), got {tuple(event_shape)}.")
        if not steepness > 0:
            raise UsageError(f"Planar: steepness must be positive, got {steepness}.")
        self.event_shape = tuple(event_shape)
        direction = torch.randn(self.event_shape)
        self.w = nn.Parameter(steepness * direction / direction.norm())
        self.u = nn.Parameter(torch.zeros(self.event_shape))
        self.b = nn.Parameter(torch.zeros(()))

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        w, u_hat, slope = self._constrained(logdet_dtype(x))
        t = torch.tanh((x * w).sum(1) + self.b)  # (B,)
        z = x + u_hat * t.unsqueeze(1)
        return z.to(x.dtype), _derivative(t, slope).log()

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        w, u_hat, slope = self._constrained(logdet_dtype(z))
        t = torch.tanh(solve((z * w).sum(1) + self.b, slope))  # (B,)
        x = z - u_hat * t.unsqueeze(1)
        return x.to(z.dtype), -_derivative(t, slope).log()

    def _constrained(self, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """w, u with its part along w constrained, and 1 + w'û, which is positive."""
        w, u = self.w.to(dtype), self.u.to(dtype)
        product = (w * u).sum()
        slope = softplus(product + math.log(math.e - 1))  # 1 + m
        along = w / w.square().sum().clamp(min=1e-12)  # zero, not NaN, where w is
        return w, u + (slope - 1 - product) * along, slope


def solve(c: Tensor, slope: Tensor) -> Tensor:
    r"""The s with :math:`s + a \tanh s = c`, where ``slope`` is 1 + a > 0.

    s is odd in c, so take c >= 0. There the left side is concave (a > 0) or convex (a < 0), and
    Newton's method from :math:`s_0 = \max(c - a, 0)` comes to the root from one side, never past
    it. The last step is taken with gradients: it gives those of the implicit function theorem.

    Shape: c, result ``(B,)``; slope ``()``.
    """
    with torch.no_grad():
        size = c.abs()
        s = (size + 1 - slope).clamp(min=0)
        for _ in range(NEWTON_STEPS):
            s = _newton(s, size, slope)
        s = s.copysign(c)
    return _newton(s, c, slope)


def _newton(s: Tensor, c: Tensor, slope: Tensor) -> Tensor:
    t = torch.tanh(s)
    return s - (s + (slope - 1) * t - c) / _derivative(t, slope)


def _derivative(t: Tensor, slope: Tensor) -> Tensor:
    """1 + a (1 - tanh^2), as a sum of two terms that are not negative."""
    return t.square() + slope * (1 - t.square())
