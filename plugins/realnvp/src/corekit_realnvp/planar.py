"""The planar flow."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from corekit.data_spec import Shape
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.inversion import invert
from corekit.nn.mlp import Mlp


class Planar(Bijector):
    r"""Push the data along one direction, by how far they are from a plane.

    .. math::
        z = x + \hat u \tanh(w^\top x + b), \qquad
        \log |\det \partial z / \partial x| = \log |1 + w^\top \hat u\,(1 - \tanh^2(w^\top x + b))|

    The map is one to one if :math:`w^\top \hat u > -1`, so the part of u along w is constrained:

    .. math::
        \hat u = u + \big(m(w^\top u) - w^\top u\big) \frac{w}{\|w\|^2}, \qquad
        m(a) = -1 + \log(1 + e^a)

    u starts where m is 0, so that a new layer is the identity. With a context a network adds to w,
    u and b. The inverse has no closed form; with :math:`s = w^\top x + b`, multiplying z by w
    leaves one increasing equation per row, which is solved numerically with implicit gradients:

    .. math:: s + w^\top \hat u \tanh s = w^\top z + b, \qquad x = z - \hat u \tanh s

    Args:
        event_shape: Shape of x without the batch; it is flattened.
        context_shape: Shape of the context, or None.
        net: Factory of the network from the context to changes of w, u and b; a perceptron, zero
            at first, unless given.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, ICML 2015, eq. 10-12
        and appendix A.1, https://arxiv.org/abs/1505.05770.

    Example:
        >>> layer = Planar((2,))
        >>> z, logdet = layer(torch.ones(3, 2))
        >>> z.shape, logdet.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    iterative = frozenset({"inverse"})

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        net: NetworkFactory | None = None,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        size = math.prod(self.event_shape)
        direction = nn.functional.normalize(torch.randn(size), dim=0)
        u = math.log(math.e - 1) * direction  # where m(w'u) = 0
        self.params = nn.Parameter(torch.cat((direction, u, torch.zeros(1))))
        if self.context_shape is not None:
            self.net = (net or Mlp)(
                in_shape=self.context_shape, out_shape=(2 * size + 1,), context_shape=None
            )

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        if context is not None:
            self.net.initialize(context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        w, u_hat, b, slope = self._constrained(x, context)
        flat = x.flatten(1).to(w.dtype)
        t = torch.tanh((flat * w).sum(1) + b)
        z = flat + u_hat * t[:, None]
        return z.to(x.dtype).reshape(x.shape), _log_slope(t, slope)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        w, u_hat, b, slope = self._constrained(z, context)
        flat = z.flatten(1).to(w.dtype)
        c, slope = torch.broadcast_tensors((flat * w).sum(1) + b, slope)
        reach = (slope - 1).abs()
        s = invert(_equation, c, (slope,), c - reach, c + reach)
        t = torch.tanh(s)
        x = flat - u_hat * t[:, None]
        return x.to(z.dtype).reshape(z.shape), -_log_slope(t, slope)

    def _constrained(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """w and the constrained u ``(B or 1, D)``, b and 1 + w'u, which is positive."""
        params = self.params.to(logdet_dtype(x))[None]
        if context is not None:
            params = params + self.net(context)
        size = (params.shape[1] - 1) // 2
        w, u, b = params.split((size, size, 1), dim=1)
        product = (w * u).sum(1)
        slope = softplus(product)  # 1 + m
        along = w / w.square().sum(1, keepdim=True).clamp(min=1e-12)  # zero, not NaN, where w is
        return w, u + (slope - 1 - product)[:, None] * along, b[:, 0], slope


def _equation(s: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    t = torch.tanh(s)
    return s + (slope - 1) * t, _log_slope(t, slope)


def _log_slope(t: Tensor, slope: Tensor) -> Tensor:
    """log(1 + a (1 - t^2)) with a = slope - 1, of a sum of two terms that are not negative."""
    return (t.square() + slope * (1 - t.square())).log()
