"""A residual network of gated convolutions, for couplings."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, elu, layer_norm, sigmoid

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.network import Network
from corekit.nn.convnet import check_image
from corekit_glow.convolution import ZeroConv


class GatedBlock(nn.Module):
    r"""One gated residual block, and a normalisation over the channels of each pixel.

    .. math::
        u = w_1 * \phi(h) + A c, \qquad [a, b] = w_2\, \phi(u), \qquad
        h' = \mathrm{LayerNorm}(h + a\, \sigma(b)), \qquad
        \phi(x) = [\mathrm{ELU}(x), \mathrm{ELU}(-x)]

    w_1 is a 3x3 convolution, w_2 one of 1x1; behind the second phi there is dropout.

    Args:
        hidden: Channels of h.
        context: Numbers of c; 0 for none.
        share: Of what dropout takes away in training.

    Shape: h ``(B, hidden, H, W)``, c ``(B, context)``; the same as h.
    """

    def __init__(self, hidden: int, context: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.first = nn.Conv2d(2 * hidden, hidden, 3, padding=1)
        self.context = nn.Linear(context, hidden, bias=False) if context else None
        self.second = nn.Conv2d(2 * hidden, 2 * hidden, 1)
        self.scale = nn.Parameter(torch.ones(hidden))
        self.bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, h: Tensor, context: Tensor | None) -> Tensor:
        """h' of h."""
        u: Tensor = self.first(concat_elu(h))
        if self.context is not None and context is not None:
            u = u + self.context(context)[:, :, None, None]
        a, b = self.second(dropout(concat_elu(u), self.share, self.training)).chunk(2, dim=1)
        h = (h + a * sigmoid(b)).movedim(1, -1)
        return layer_norm(h, self.scale.shape, self.scale, self.bias).movedim(-1, 1)


class GatedResNet(Network):
    r"""A 3x3 convolution, gated residual blocks (`GatedBlock`), and a 3x3 one that gives zeros.

    As in Flow++, without its attention and its weight normalisation: the layer normalisation keeps
    h of order one by itself.

    Args:
        in_shape: ``(C, H, W)``.
        out_shape: ``(..., H, W)``; what stands in front of height and width are channels.
        context_shape: Shape of a context, which shifts the hidden channels of every block; or None.
        hidden: Channels inside.
        blocks: How many, at least 1.
        dropout: Share of the inner numbers of a block that training sets to zero.
        logscale_factor: Of the last layer's scales (`ZeroConv`); 0 for none.

    Shape: x ``(B, C, H, W)``, context ``(B, *context_shape)``; output ``(B, *out_shape)``.

    Raises:
        ShapeError: If input and output have no common height and width.
        UsageError: If an option is out of range.

    Source: Ho et al., Flow++, ICML 2019, section 3.3 and their code, https://arxiv.org/abs/1902.00275;
        the block of Salimans et al., PixelCNN++, ICLR 2017, https://arxiv.org/abs/1701.05517.
    """

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: int = 96,
        blocks: int = 4,
        dropout: float = 0.0,
        logscale_factor: float = 3.0,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        check_image(type(self).__name__, in_shape, out_shape)
        if min(hidden, blocks) < 1 or not 0 <= dropout < 1 or logscale_factor < 0:
            raise UsageError(
                "GatedResNet: hidden and blocks must be at least 1, dropout lie in [0, 1) and "
                f"logscale_factor be at least 0, got {hidden}, {blocks}, {dropout} and "
                f"{logscale_factor}."
            )
        given = 0 if context_shape is None else math.prod(context_shape)
        self.first = nn.Conv2d(in_shape[0], hidden, 3, padding=1)
        self.blocks = nn.ModuleList(GatedBlock(hidden, given, dropout) for _ in range(blocks))
        self.last = ZeroConv(2 * hidden, math.prod(out_shape[:-2]), logscale_factor=logscale_factor)

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        h = self.first(x)
        flat = None if context is None else context.flatten(1)
        for block in self.blocks:
            h = block(h, flat)
        return self.last(concat_elu(h))


def concat_elu(x: Tensor) -> Tensor:
    """[ELU(x), ELU(-x)]: ``(B, 2 C, H, W)``; no number is without a gradient."""
    return torch.cat((elu(x), elu(-x)), dim=1)
