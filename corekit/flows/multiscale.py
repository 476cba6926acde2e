"""Multi-scale flows: part of the event leaves at each level, the rest goes on."""

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import bounded
from corekit.flows.compose import Chain, Factory, make
from corekit.flows.coupling import NetworkFactory
from corekit.flows.partition import Halves
from corekit.flows.squeeze import Flatten
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.initialization import hands_on
from corekit.interfaces.network import Network
from corekit.nn.convnet import ConvNet
from corekit.nn.mlp import Mlp


class Split(Bijector):
    r"""One half leaves as standard normal numbers, given the other half, which goes on.

    With x = (h, x_b), h the first ceil(C / 2) features or channels, f the rest of the flow, and
    mean and log-deviation of x_b by a network:

    .. math::
        z = \Big[\frac{x_b - \mu(h)}{e^{s(h)}},\; f(h)\Big], \qquad
        \log|\det \partial z / \partial x| = -\sum_d s_d + \log|\det \partial f / \partial h|

    Both are flattened and put side by side, so z is one vector with one standard normal density:
    the learned prior of the half that leaves is part of the map. A split inside f makes a flow of
    several scales, whose z is [first level, second level, …, deepest]: see `levels` and `joined`.

    Args:
        event_shape: Shape of x without the batch; the first axis is divided.
        context_shape: Shape of the context of the network and of f, or None.
        of: f; the identity unless given.
        net: Factory of the network, ``in_shape`` that of h, ``out_shape`` ``(2, *half)``: mean, raw
            log-deviation; a perceptron, or for images convolutions, unless given.
        max_log_scale: m: s = m tanh(raw / m), nats; None for no bound.

    Shape: x ``(B, *event_shape)``, z ``(B, D)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If there is nothing to divide, or f is not a map between real numbers.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3.6; the prior of
        Kingma and Dhariwal, Glow, NeurIPS 2018, https://arxiv.org/abs/1807.03039.

    Example:
        >>> layer = Split((4, 2, 2))
        >>> z, logdet = layer(torch.zeros(1, 4, 2, 2))
        >>> z.shape, [level.shape for level in levels(layer, z)]
        (torch.Size([1, 16]), [torch.Size([1, 2, 2, 2]), torch.Size([1, 2, 2, 2])])
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        of: "Factory | Bijector | None" = None,
        net: NetworkFactory | None = None,
        max_log_scale: float | None = 7.0,
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        if not event_shape or event_shape[0] < 2:
            raise ShapeError(
                "Split: event_shape must have at least 2 features or channels to divide, got "
                f"{self.event_shape}. Squeeze an image of one channel first."
            )
        if max_log_scale is not None and not max_log_scale > 0:
            raise UsageError(f"Split: max_log_scale must be positive, got {max_log_scale}.")
        self.max_log_scale = max_log_scale
        self.parts = Halves(self.event_shape)
        kept_shape, self.leaving = self.parts.kept_shape, self.parts.moved_shape
        net = net or (ConvNet if len(self.event_shape) == 3 else Mlp)
        self.net = net(
            in_shape=kept_shape, out_shape=(2, *self.leaving), context_shape=context_shape
        )
        self.of = of = make(of or Flatten, kept_shape, context_shape)
        self.context_shape = self.net.context_shape or of.context_shape
        if of.domain is not Support.REAL or of.codomain is not Support.REAL:
            raise ShapeError(
                f"Split: what follows must map real numbers to real numbers, got "
                f"{type(of).__name__} from {of.domain.value} to {of.codomain.value}."
            )
        self.logdet_kind, self.rows_coupled = of.logdet_kind, of.rows_coupled
        self.iterative, self.has_inverse = of.iterative, of.has_inverse

    @property
    def latent_shape(self) -> Shape:
        """One vector."""
        return (math.prod(self.event_shape),)

    @hands_on
    def initialize(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """The rest of the flow starts from the half that goes on."""
        self._check("x", x, self.event_shape, context)
        self.net.initialize(self.parts.split(x)[0], _given(self.net, context))
        left = self._in_parts(self._leave, x, context)
        rest = self.of.initialize(self.parts.split(x)[0], _given(self.of, context))
        return torch.cat((left, rest.flatten(1)), dim=1)

    def initialize_inverse(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """The rest of the flow starts from its latents, the network from what it makes of them."""
        self._check("z", z, self.latent_shape, context)
        kept = self.of.initialize_inverse(self._divided(z)[1], _given(self.of, context))
        self.net.initialize(kept, _given(self.net, context))
        return self._in_parts(self.inverse, z, context)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        left, logdet = self._leave(x, context)
        rest, rest_logdet = self.of(self.parts.split(x)[0], _given(self.of, context))
        return torch.cat((left, rest.flatten(1)), dim=1), logdet + rest_logdet

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        left, rest = self._divided(z)
        kept, rest_logdet = self.of.inverse(rest, _given(self.of, context))
        mean, log_std = self._mean_and_log_std(kept, context)
        moved = torch.addcmul(mean, left, log_std.exp().to(z.dtype))
        return self.parts.join(kept, moved), rest_logdet + log_std.flatten(1).sum(1)

    def _leave(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The half that leaves as standard normal numbers, flat, and its log-determinant."""
        kept, moved = self.parts.split(x)
        mean, log_std = self._mean_and_log_std(kept, context)
        z = (moved - mean) * (-log_std).exp().to(x.dtype)
        return z.flatten(1), -log_std.flatten(1).sum(1)

    def _divided(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """z as the half that left and what the rest of the flow made, in their shapes."""
        left, rest = z.tensor_split((math.prod(self.leaving),), dim=1)
        rows = z.shape[0]
        return left.reshape(rows, *self.leaving), rest.reshape(rows, *self.of.latent_shape)

    def _mean_and_log_std(self, kept: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        mean, raw = self.net(kept, _given(self.net, context)).unbind(1)
        raw, bound = raw.to(logdet_dtype(kept)), self.max_log_scale
        return mean, bounded(raw, bound)


def _given(part: Bijector | Network, context: Tensor | None) -> Tensor | None:
    """What a part takes of a context."""
    return None if part.context_shape is None else context


class MultiScale(Chain):
    """The same kind of layers at several levels, with a `Split` after each but the last.

    Level i is ``of`` built for the shape that level i - 1 left over; z is a vector, standard normal
    under the model: [first level, …, deepest]. For images, let ``of`` begin with a squeeze.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context offered to the layers and to the splits, or None.
        levels: How many, at least 1.
        of: The layers of one level: factories; each is built anew at every level.
        net: Factory of the networks of the splits; a perceptron or convolutions unless given.
        max_log_scale: Of the splits.
        top: One more layer behind those of the deepest level, or None.

    Shape: x ``(B, *event_shape)``, z ``(B, D)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If there is no level, or a layer is built already.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        levels: int,
        of: Factory | Sequence[Factory],
        net: NetworkFactory | None = None,
        max_log_scale: float | None = 7.0,
        top: Factory | None = None,
    ) -> None:
        layers = [of] if callable(of) else list(of)
        if levels < 1:
            raise UsageError(f"MultiScale: levels must be at least 1, got {levels}.")
        if any(isinstance(layer, Bijector) for layer in layers):
            raise UsageError(
                "MultiScale: of must be factories (a class or a function of shapes), got a built "
                "Bijector. Each level has another shape."
            )
        end: list[Factory] = [*([] if top is None else [top]), Flatten]
        for _ in range(levels - 1):
            rest = partial(Chain, of=[*layers, *end])
            end = [partial(Split, of=rest, net=net, max_log_scale=max_log_scale)]
        super().__init__(event_shape, context_shape, of=[*layers, *end])


def level_shapes(bijector: Bijector) -> tuple[Shape, ...]:
    """The shape of each level of a latent: one, unless the bijector ends in a `Split`."""
    if isinstance(bijector, Split):
        return bijector.leaving, *level_shapes(bijector.of)
    if isinstance(bijector, Chain):
        return level_shapes(bijector[-1])
    return (bijector.event_shape if isinstance(bijector, Flatten) else bijector.latent_shape,)


def levels(bijector: Bijector, z: Tensor) -> list[Tensor]:
    """A latent ``(B, D)`` as its levels, first to deepest, each in the shape that it left in.

    Scale each by a temperature of its own and put them together again with `joined`, which
    ``inverse`` takes.
    """
    shapes = level_shapes(bijector)
    sizes = [math.prod(shape) for shape in shapes]
    parts = z.flatten(1).split(sizes, dim=1)
    return [part.reshape(len(z), *shape) for part, shape in zip(parts, shapes, strict=True)]


def joined(bijector: Bijector, parts: Sequence[Tensor]) -> Tensor:
    """Undo `levels`."""
    flat = torch.cat([part.flatten(1) for part in parts], dim=1)
    return flat.reshape(len(flat), *bijector.latent_shape)
