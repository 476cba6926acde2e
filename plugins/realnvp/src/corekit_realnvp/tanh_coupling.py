"""The coupling of the RealNVP paper: a log-scale bounded by a learned multiple of tanh."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.affine import Affine
from corekit.flows.coupling import Coupling, NetworkFactory
from corekit.flows.partition import Split
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.network import Network
from corekit.nn.mlp import Mlp
from corekit_realnvp.resnet import ResNet

Per = Literal["channel", "scalar"]


class TanhScale(Network):
    r"""A network for an affine map, its raw log-scale bounded by a learned multiple of tanh.

    .. math:: \ell = a \tanh(r) + b

    a starts at 1 and b at 0. Starting at a = 0, as the original code does, leaves the part of the
    network that computes r without a gradient in the first step.

    Args:
        in_shape: Shape of the input.
        out_shape: ``(2, *moved)``: the raw log-scale r and the shift.
        context_shape: Shape of a context of the network, or None.
        net: Factory of the network.
        per: One a and one b per channel (the first axis of what is moved), or one for all.

    Shape: as of the network.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        net: NetworkFactory,
        per: Per = "channel",
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        if per not in ("channel", "scalar"):
            raise UsageError(f"TanhScale: per must be channel or scalar, got {per!r}.")
        self.net = net(in_shape=in_shape, out_shape=out_shape, context_shape=context_shape)
        shape = (out_shape[1], *(1,) * (len(out_shape) - 2)) if per == "channel" else ()
        self.scale = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """The network starts from x."""
        self.net.initialize(x, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        raw, shift = self.net(x, context).unbind(1)
        return torch.stack((self.scale * torch.tanh(raw) + self.shift, shift), dim=1)


class TanhCoupling(Coupling):
    r"""Scale and shift one part of an event, the log-scale bounded by a learned multiple of tanh.

    .. math::
        z_a = x_a, \qquad z_b = x_b \odot e^{\ell} + t, \qquad \ell = a \tanh(r(x_a)) + b, \qquad
        \log|\det \partial z / \partial x| = \sum_d \ell_d

    A new layer is the identity, and every part of the network has a gradient at once.

    Args:
        event_shape: Shape of x without the batch: a vector, or an image of any size.
        context_shape: Shape of the context of the network, or None.
        net: Factory of the network of r and t; `ResNet` for images, a perceptron for vectors,
            unless given.
        split: Which part is kept (`corekit.flows.partition`).
        swap: Exchange the parts; alternate it along a chain.
        scale: One a and one b per channel, as in the paper, or one for all.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event cannot be divided so.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3 and appendix,
        https://arxiv.org/abs/1605.08803.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        net: NetworkFactory | None = None,
        split: Split = "halves",
        swap: bool = False,
        scale: Per = "channel",
    ) -> None:
        inner = net or (ResNet if len(event_shape) == 3 else Mlp)
        super().__init__(
            event_shape,
            context_shape,
            univariate=Affine("exp", max_log_scale=None),
            net=partial(TanhScale, net=inner, per=scale),
            split=split,
            swap=swap,
        )
