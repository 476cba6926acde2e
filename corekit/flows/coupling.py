"""Coupling layers: one part of an event is moved, given the other."""

from collections.abc import Callable, Sequence

from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.flows.affine import Affine
from corekit.flows.partition import Split, partition
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.network import Network
from corekit.interfaces.univariate import Univariate
from corekit.nn.convnet import ConvNet
from corekit.nn.mlp import Mlp

NetworkFactory = Callable[..., Network]
"""Called with in_shape, out_shape and context_shape."""


class Coupling(Bijector):
    r"""Move one part of an event by a map whose parameters a network computes from the rest.

    .. math::
        z_a = x_a, \qquad z_b = \tau(x_b;\, \theta(x_a, c)), \qquad
        \log|\det \partial z / \partial x| = \sum_d \log|\tau'(x_{b,d})|

    Args:
        event_shape: Shape of x without the batch: a vector, an image, anything with an axis of
            features first.
        context_shape: Shape of the context of the network, or None.
        univariate: The map of one number; affine unless given.
        net: Factory of the network, ``in_shape`` that of the kept part, ``out_shape``
            ``(P, *moved)``; a perceptron, or for images convolutions, unless given. If it leaves
            the context aside, so does the layer.
        split: Which part is kept (`partition`): a word, or a list of features or channels.
        swap: Exchange the parts; alternate it along a chain.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event cannot be divided so, or the map does not keep its domain.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017,
        https://arxiv.org/abs/1605.08803.

    Example:
        >>> import torch
        >>> layer = Coupling((5,))
        >>> z, logdet = layer(torch.randn(3, 5))
        >>> z.shape, logdet.shape
        (torch.Size([3, 5]), torch.Size([3]))
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        univariate: Univariate | None = None,
        net: NetworkFactory | None = None,
        split: Split | Sequence[int] = "halves",
        swap: bool = False,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.univariate = univariate = Affine() if univariate is None else univariate
        if univariate.domain is not univariate.codomain:
            raise ShapeError(
                f"{type(self).__name__}: the map must end where it begins, as the kept part does, "
                f"got {type(univariate).__name__} from {univariate.domain.value} to "
                f"{univariate.codomain.value}."
            )
        self.domain = self.codomain = univariate.domain
        self.iterative = univariate.iterative
        self.parts = partition(self.event_shape, split, swap=swap)
        out_shape = (univariate.parameters, *self.parts.moved_shape)
        net = net or (ConvNet if len(self.event_shape) == 3 else Mlp)
        self.net = net(
            in_shape=self.parts.kept_shape, out_shape=out_shape, context_shape=context_shape
        )
        self.context_shape = self.net.context_shape

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        self.net.initialize(self.parts.split(given)[0], context)  # z keeps what x keeps

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = self.parts.split(x)
        moved, log_slope = self.univariate.forward(moved, self.net(kept, context))
        return self.parts.join(kept, moved), self.parts.total(log_slope)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        # The kept part of z equals that of x, so the network sees the same input.
        kept, moved = self.parts.split(z)
        moved, log_slope = self.univariate.inverse(moved, self.net(kept, context))
        return self.parts.join(kept, moved), self.parts.total(log_slope)
