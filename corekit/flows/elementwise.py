"""A map of one number, applied to every element."""

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.univariate import Univariate
from corekit.nn.mlp import Mlp


class Elementwise(Bijector):
    r"""The same kind of map of every element, with parameters of its own each.

    .. math:: z_d = \tau(x_d;\, \theta_d), \qquad
        \log|\det \partial z / \partial x| = \sum_d \log|\tau'(x_d)|

    The parameters are learned; with a context, a network computes them from it, so that it is a
    conditional density of independent elements.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context, or None.
        univariate: The map.
        net: Factory of the network from context to parameters, used with a context only; a
            perceptron unless given.
        shared: Whether one set of parameters serves all positions behind the first axis: all
            pixels of a channel.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Example:
        >>> from corekit.flows.affine import Affine
        >>> z, logdet = Elementwise((2,), univariate=Affine())(torch.ones(1, 2))
        >>> z, logdet
        (tensor([[1., 1.]], grad_fn=...), tensor([0.], grad_fn=...))
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        univariate: Univariate,
        net: NetworkFactory | None = None,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        if shared and len(self.event_shape) < 2:
            raise ShapeError(
                "Elementwise: shared parameters must have an axis of features and more behind it, "
                f"got the event shape {self.event_shape}. Leave `shared` out."
            )
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.univariate = univariate
        self.domain, self.codomain = univariate.domain, univariate.codomain
        self.iterative = univariate.iterative
        shape = (self.event_shape[0], *(1,) * (len(event_shape) - 1)) if shared else event_shape
        self._shape = (univariate.parameters, *shape)
        if self.context_shape is None:
            self.params = nn.Parameter(torch.zeros(self._shape))
        else:
            net = net or Mlp
            self.net = net(in_shape=self.context_shape, out_shape=self._shape, context_shape=None)

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        if context is not None:
            self.net.initialize(context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.univariate.forward(x, self._params(x, context))
        return z, log_slope.flatten(1).sum(1)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.univariate.inverse(z, self._params(z, context))
        return x, log_slope.flatten(1).sum(1)

    def _params(self, x: Tensor, context: Tensor | None) -> Tensor:
        params = self.params[None] if context is None else self.net(context)
        return params.expand(x.shape[0], self.univariate.parameters, *self.event_shape)
