"""The network of Glow's couplings."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import relu

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.initialization import INIT_ROWS
from corekit.interfaces.network import Network
from corekit.nn.convnet import check_image, with_context
from corekit_glow.convolution import NormedConv, ZeroConv


class GlowNet(Network):
    """A 3x3, a 1x1 and a 3x3 convolution; the last gives zeros at first.

    The first two have an ActNorm before their activation, so that a new network has inputs of unit
    variance in every layer whatever the data. ActNorm starts from data: `initialize`.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(..., H, W)``; what stands in front of height and width are channels.
        context_shape: Shape of a context, which becomes channels that are the same at every pixel;
            or None.
        hidden: Channels of the two hidden layers.
        actnorm: Whether the hidden layers have an ActNorm; a bias otherwise.
        logscale_factor: Of the last layer's scales (`ZeroConv`); 0 for none.
        edge_bias: Which 3x3 convolutions are told where the border is: none, last or all.
        dtype: Of the convolutions in training, ``bf16`` or that of the input. In evaluation and
            where no gradient is recorded they run in that of the input: rounding to bf16 would
            break the round trip of a chain.

    Shape: x ``(B, C, H, W)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.

    Raises:
        ShapeError: If input and output have no common height and width.
        UsageError: If an option is unknown or out of range.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 3.3, and their code (ActNorm, scales,
        border), https://arxiv.org/abs/1807.03039.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: int = 512,
        actnorm: bool = True,
        logscale_factor: float = 3.0,
        edge_bias: str = "none",
        dtype: str = "input",
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image(type(self).__name__, in_shape, out_shape)
        if edge_bias not in ("none", "last", "all") or dtype not in ("input", "bf16"):
            raise UsageError(
                "GlowNet: edge_bias must be none, last or all and dtype input or bf16, got "
                f"{edge_bias!r} and {dtype!r}."
            )
        if hidden < 1 or logscale_factor < 0:
            raise UsageError(
                "GlowNet: hidden must be at least 1 and logscale_factor at least 0, got "
                f"{hidden} and {logscale_factor}."
            )
        self.in_bf16 = dtype == "bf16"
        channels = in_shape[0] + math.prod(context_shape or (0,))
        everywhere, last = edge_bias == "all", edge_bias != "none"
        self.first = NormedConv(channels, hidden, 3, norm=actnorm, edge=everywhere)
        self.second = NormedConv(hidden, hidden, 1, norm=actnorm, edge=everywhere)
        self.last = ZeroConv(
            hidden, math.prod(out_shape[:-2]), logscale_factor=logscale_factor, edge=last
        )

    @torch.no_grad()
    def initialize(self, x: Tensor, context: Tensor | None = None) -> None:
        """Let the hidden layers have mean 0 and variance 1 over the init set, once."""

        def inputs() -> Iterator[Tensor]:
            for start in range(0, len(x), INIT_ROWS):
                rows = slice(start, start + INIT_ROWS)
                yield with_context(x[rows], None if context is None else context[rows])

        def start(layer: NormedConv, before: Callable[[Tensor], Tensor]) -> None:
            if layer.norm is not None:
                layer.norm.start(lambda: (layer.without_norm(before(part)) for part in inputs()))

        start(self.first, lambda part: part)
        start(self.second, lambda part: relu(self.first(part)))

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        h = with_context(x, context)
        half = self.in_bf16 and self.training and torch.is_grad_enabled()
        if half:
            h = h.to(torch.bfloat16)
        h = relu(self.first(h), inplace=True)  # nothing else needs what a convolution made
        h = relu(self.second(h), inplace=True)
        h = self.last(h)
        return h.to(x.dtype) if half else h
