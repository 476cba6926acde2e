"""The network of a split: mean and log-deviation of the half that leaves."""

import math

from torch import Tensor

from corekit.data_spec import Shape
from corekit.interfaces.network import Network
from corekit.nn.convnet import check_image, with_context
from corekit_glow.convolution import ZeroConv


class SplitNet(Network):
    """One 3x3 convolution that gives zeros at first.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(..., H, W)``.
        context_shape: Shape of a context, which becomes channels that are the same at every pixel;
            or None.
        logscale_factor: Of its scales (`ZeroConv`); 0 for none.
        edge: Whether it is told where the border is.

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
        logscale_factor: float = 3.0,
        edge: bool = False,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image(type(self).__name__, in_shape, out_shape)
        channels = in_shape[0] + math.prod(context_shape or (0,))
        made = math.prod(out_shape[:-2])
        self.conv = ZeroConv(channels, made, logscale_factor=logscale_factor, edge=edge)

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self.conv(with_context(x, context))
