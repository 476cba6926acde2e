"""The weight-normalised residual network of RealNVP on images."""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_unshuffle, relu

from corekit.data_spec import Shape
from corekit.interfaces.frozen import Derived
from corekit.interfaces.network import Network
from corekit.nn.convnet import check_image, with_context

C = TypeVar("C", bound="NormedConv")


class NormedConv(Derived):
    r"""A convolution whose kernels have a learned length, that keeps height and width.

    .. math:: W_o = g_o\, v_o / \lVert v_o \rVert

    A kernel is all that leads to one output channel: the norm goes over the axes 1 to 3 of v.

    Args:
        channels: Of the input.
        out_channels: Of the output.
        size: Height and width of a kernel, odd.

    Shape: x ``(B, channels, H, W)``; output ``(B, out_channels, H, W)``.
    Source: Salimans and Kingma, Weight Normalization, NeurIPS 2016, eq. 2,
        https://arxiv.org/abs/1602.07868.
    """

    def __init__(self, channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.v = nn.Conv2d(channels, out_channels, size).weight
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.g = nn.Parameter(self.v.detach().flatten(1).norm(dim=1)[:, None, None, None])
        self.padding = size // 2

    def zero(self: C) -> C:
        """Give zeros from now on; v keeps its direction, so gradients are finite."""
        with torch.no_grad():
            self.g.zero_()
            self.bias.zero_()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        weight = self.derived("weight", self._weight, self.v, self.g)
        return conv2d(x, weight, self.bias, padding=self.padding)

    def _weight(self) -> Tensor:
        return self.v * (self.g / self.v.flatten(1).norm(dim=1)[:, None, None, None])


class Block(nn.Module):
    """x + conv(relu(conv(relu(conv(x))))), of sizes 1, 3 and 1."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(NormedConv(filters, filters, size) for size in (1, 3, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        first, second, third = self.layers
        added: Tensor = third(relu(second(relu(first(x)))))
        return x + added


class ResNet(Network):
    """A 3x3 convolution, residual blocks, and a 3x3 convolution, all weight-normalised.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(..., H, W)``; what stands in front of height and width are channels.
        context_shape: Shape of a context, or None. An image of the same height and width, or of a
            multiple of them, is put beside x pixel by pixel; anything else becomes channels that
            are the same at every pixel.
        filters: Channels inside.
        blocks: Number of residual blocks.
        zero_last: Whether a new network gives zeros.

    Shape: x ``(B, C, H, W)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.

    Raises:
        ShapeError: If input and output have no common height and width.

    Source: Dinh et al., Density estimation using Real NVP, ICLR 2017, section 3 and appendix,
        https://arxiv.org/abs/1605.08803; sizes of the blocks after the solution of homework 2 of
        Berkeley CS294-158 (2020).
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        filters: int = 128,
        blocks: int = 8,
        zero_last: bool = True,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image(type(self).__name__, in_shape, out_shape)
        self.shrink = _shrink(context_shape, in_shape)
        channels = in_shape[0]
        if context_shape is not None:
            rest = math.prod(in_shape[1:]) if self.shrink else 1
            channels += math.prod(context_shape) // rest
        self.first = NormedConv(channels, filters, 3)
        self.blocks = nn.ModuleList(Block(filters) for _ in range(blocks))
        self.last = NormedConv(filters, math.prod(out_shape[:-2]), 3)
        if zero_last:
            self.last.zero()

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        if context is None or not self.shrink:
            x = with_context(x, context)
        else:
            x = torch.cat((x, pixel_unshuffle(context, self.shrink)), dim=1)
        h = relu(self.first(x))
        for block in self.blocks:
            h = block(h)
        return self.last(relu(h))


def _shrink(context_shape: Shape | None, in_shape: Shape) -> int:
    """How many times the context is as high and wide as x; 0 if it is no such image."""
    if context_shape is None or len(context_shape) != 3:
        return 0
    times = context_shape[1] // in_shape[1]
    fits = tuple(context_shape[1:]) == (times * in_shape[1], times * in_shape[2])
    return times if fits else 0
