"""A small convolutional network that keeps height and width."""

import math

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.interfaces.network import Network
from corekit.nn.activation import Activation, make_activation
from corekit.nn.mlp import zero


class ConvNet(Network):
    """A 3x3, a 1x1 and a 3x3 convolution, with an activation between them.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(..., H, W)``; what stands in front of height and width are channels.
        context_shape: Shape of a context, which becomes channels that are the same at every pixel;
            or None.
        hidden: Channels of the two hidden layers.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        zero_last: Whether a new network gives zeros.

    Shape: x ``(B, C, H, W)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.

    Raises:
        ShapeError: If input and output have no common height and width.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: int = 128,
        activation: Activation = "relu",
        zero_last: bool = True,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image(type(self).__name__, in_shape, out_shape)
        channels = in_shape[0] + math.prod(context_shape or (0,))
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 3, padding=1),
            make_activation(activation),
            nn.Conv2d(hidden, hidden, 1),
            make_activation(activation),
            nn.Conv2d(hidden, math.prod(out_shape[:-2]), 3, padding=1),
        )
        if zero_last:
            zero(self.layers[-1])

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.layers(with_context(x, context))


def with_context(x: Tensor, context: Tensor | None) -> Tensor:
    """An image with a context as channels that are the same at every pixel."""
    if context is None:
        return x
    flat = context.flatten(1)[:, :, None, None]
    return torch.cat((x, flat.expand(*flat.shape[:2], *x.shape[2:])), dim=1)


def check_image(who: str, in_shape: Shape, out_shape: Shape) -> None:
    """Refuse shapes that a network over images cannot map.

    Raises:
        ShapeError: If input and output have no common height and width.
    """
    if len(in_shape) != 3 or tuple(out_shape[-2:]) != tuple(in_shape[1:]) or len(out_shape) < 3:
        raise ShapeError(
            f"{who}: in_shape must be (channels, height, width) and out_shape end in the same "
            f"height and width, got {tuple(in_shape)} and {tuple(out_shape)}."
        )
