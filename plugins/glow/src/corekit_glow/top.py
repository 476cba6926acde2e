"""The learned, perhaps conditional, Gaussian of the deepest latent, as a layer."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.flows.affine import bounded
from corekit.flows.compose import Chain
from corekit.flows.mixing import check_features, per_channel
from corekit.flows.multiscale import Split
from corekit.flows.squeeze import Flatten
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit_glow.convolution import ring


class TopPrior(Bijector):
    r"""The deepest latent as standard normal numbers, given a mean and a deviation per channel.

    .. math:: z = \frac{x - \mu(c)}{e^{s(c)}}, \qquad
        [\mu, s](c) = b\, e^{f \ell} + (A c + b')\, e^{f \ell'}

    With a standard normal base behind it this is the learned prior of Glow, and its class
    conditional one where c is the one-hot class; temperature scales what is left. All starts at
    zero: the layer is the identity.

    Args:
        event_shape: Shape of x without the batch; the first axis is that of channels.
        context_shape: Shape of the context c, or None for the first term alone.
        learn: Whether there is the first term.
        logscale_factor: f; 0 for no scales.
        max_log_std: m: s becomes m tanh(s / m), nats; None for no bound.
        edge: Of an image, whether the first term differs at the border: a 3x3 convolution of the
            ring around it is added to b.

    Shape: x, z ``(B, C, ...)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event has no axis, or is to have a border and is no image.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, and their code (``learntop``, ``ycond``).
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        learn: bool = True,
        logscale_factor: float = 3.0,
        max_log_std: float | None = 7.0,
        edge: bool = False,
    ) -> None:
        super().__init__()
        check_features("TopPrior", event_shape)
        if edge and len(event_shape) != 3:
            raise ShapeError(
                "TopPrior: an event with a border must be (channels, height, width), got "
                f"{tuple(event_shape)}. Leave out edge."
            )
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.factor, self.max_log_std = logscale_factor, max_log_std
        channels, scaled = 2 * event_shape[0], logscale_factor > 0
        self.bias = nn.Parameter(torch.zeros(channels)) if learn else None
        self.logs = nn.Parameter(torch.zeros(channels)) if learn and scaled else None
        self.edge = nn.Parameter(torch.zeros(channels, 1, 3, 3)) if learn and edge else None
        given = self.context_shape is not None
        width = math.prod(self.context_shape or (0,))
        self.weight = nn.Parameter(torch.zeros(channels, width)) if given else None
        self.context_bias = nn.Parameter(torch.zeros(channels)) if given else None
        self.context_logs = nn.Parameter(torch.zeros(channels)) if given and scaled else None

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, log_std = self._mean_and_log_std(x, context)
        return (x - mean.to(x.dtype)) * (-log_std).exp().to(x.dtype), -self._total(log_std, x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, log_std = self._mean_and_log_std(z, context)
        return mean.to(z.dtype) + z * log_std.exp().to(z.dtype), self._total(log_std, z)

    def _mean_and_log_std(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """``(B or 1, C, H or 1, ...)`` each."""
        dtype, channels = logdet_dtype(x), self.event_shape[0]
        found = torch.zeros(1, *per_channel((2 * channels, *x.shape[2:])), dtype=dtype).to(x.device)
        if self.bias is not None:
            own = self.bias.to(dtype).reshape(found.shape)
            if self.edge is not None:
                own = own + ring(self.edge.to(dtype), x.shape[2:])
            found = found + self._scaled(own, self.logs)
        if context is not None and self.weight is not None and self.context_bias is not None:
            given = context.flatten(1).to(dtype)
            moved = linear(given, self.weight.to(dtype), self.context_bias.to(dtype))
            moved = moved.reshape(len(moved), *found.shape[1:2], *(1,) * (x.ndim - 2))
            found = found + self._scaled(moved, self.context_logs)
        mean, log_std = found.chunk(2, dim=1)
        return mean, bounded(log_std, self.max_log_std)

    def _scaled(self, value: Tensor, logs: Tensor | None) -> Tensor:
        if logs is None:
            return value
        scale = (self.factor * logs.to(value.dtype)).exp()
        return value * scale.reshape(-1, *(1,) * (value.ndim - 2))

    def _total(self, log_std: Tensor, x: Tensor) -> Tensor:
        return log_std.expand(-1, *self.event_shape).flatten(1).sum(1).expand(x.shape[0])


def top_of(bijector: Bijector) -> TopPrior | None:
    """The `TopPrior` that a flow ends in at its deepest level, or None."""
    if isinstance(bijector, Split):
        return top_of(bijector.of)
    if isinstance(bijector, Chain):
        members = [member for member in bijector if not isinstance(member, Flatten)]
        return top_of(members[-1]) if members else None
    return bijector if isinstance(bijector, TopPrior) else None
