"""Residual blocks and attention over positions: what U-Nets of diffusion models are made of."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from corekit_ddpm_improved.layers import (
    CONVOLUTIONS,
    GroupNorm,
    Pointwise,
    attention,
    enlarged,
    halved,
    zeroed,
)

Resample = Literal["down", "up"]


class ResBlock(nn.Module):
    r"""Two convolutions with a norm before each, told the noise level between them.

    .. math::
        h = \text{conv}(\text{SiLU}(\text{norm}(x))), \qquad
        y = \text{skip}(x) + \text{conv}(\text{dropout}(\text{SiLU}(
            (1 + s) \odot \text{norm}(h) + b))), \quad (s, b) = W \, \text{SiLU}(e)

    or, where the embedding e is added, norm(h + W SiLU(e)). The last convolution starts at zero.

    Args:
        channels, out_channels: Of x and of y.
        embedding: Width of e.
        dims: Axes of positions, 1 to 3.
        dropout: Probability.
        scale_shift: Whether e scales and shifts, or is added.
        resample: Halve ("down") or double ("up") the grid inside, without a convolution.

    Shape: x ``(B, channels, ...)``; silu_e ``(B, embedding)``, SiLU(e).

    Source: Nichol and Dhariwal, Improved DDPM, ICML 2021, app. A, https://arxiv.org/abs/2102.09672;
        resampling inside: Dhariwal and Nichol, Diffusion Models Beat GANs, NeurIPS 2021, section 3,
        https://arxiv.org/abs/2105.05233.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        embedding: int,
        *,
        dims: int = 2,
        dropout: float = 0.0,
        scale_shift: bool = True,
        resample: Resample | None = None,
    ) -> None:
        super().__init__()
        conv = CONVOLUTIONS[dims]
        self.scale_shift, self.resample = scale_shift, resample
        self.norm_in, self.conv_in = GroupNorm(channels), conv(channels, out_channels, 3, padding=1)
        self.embed = nn.Linear(embedding, (2 if scale_shift else 1) * out_channels)
        self.norm_out, self.dropout = GroupNorm(out_channels), nn.Dropout(dropout)
        self.conv_out = zeroed(conv(out_channels, out_channels, 3, padding=1))
        self.skip: nn.Module = nn.Identity()
        if channels != out_channels:
            wide = Pointwise if dims == 2 else partial(conv, kernel_size=1)
            self.skip = wide(channels, out_channels)

    def forward(self, x: Tensor, silu_e: Tensor, size: torch.Size | None = None) -> Tensor:
        """y; ``size`` is the grid to enlarge to."""
        h = silu(self.norm_in(x))
        if self.resample == "down":
            x, h = halved(x), halved(h)
        elif self.resample == "up" and size is not None:
            x, h = enlarged(x, size), enlarged(h, size)
        h = self.conv_in(h)
        e = self.embed(silu_e)
        if self.scale_shift:
            h = self.norm_out(h, e)
        else:
            h = self.norm_out(h + e.reshape(*e.shape, *(1,) * (x.ndim - 2)))
        y: Tensor = self.skip(x) + self.conv_out(self.dropout(silu(h)))
        return y


class SelfAttention(nn.Module):
    r"""Each position looks at all positions; the result is added.

    .. math:: y = x + W_o \, \text{softmax}(q k^\top / \sqrt{d})\, v, \qquad
        (q, k, v) = W \, \text{norm}(x)

    The matrix W gives q, k and v one after the other, each head by head. W_o starts at zero.

    Args:
        channels: Of x.
        heads: Number of heads; d is channels / heads.

    Shape: x, y ``(B, channels, ...)``.

    Source: Vaswani et al., Attention Is All You Need, 2017; in diffusion: Ho et al. 2020, app. B.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """y."""
        rows = self.norm(x).flatten(2).transpose(1, 2)  # (B, positions, channels)
        q, k, v = self.qkv(rows).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.out(seen).transpose(1, 2).reshape(x.shape)


class Resampling(nn.Module):
    """Halve or double the grid, with a convolution or without.

    Args:
        channels: Of x.
        way: down or up.
        dims: Axes of positions; of three the first keeps its length.
        convolution: Whether to convolve: with a stride of 2, or after the nearest neighbours.
    """

    def __init__(self, channels: int, way: Resample, dims: int, *, convolution: bool) -> None:
        super().__init__()
        conv: Any = CONVOLUTIONS[dims]
        self.way, self.conv = way, None
        if convolution:
            stride = 1 if way == "up" else (1, 2, 2) if dims == 3 else 2
            self.conv = conv(channels, channels, 3, stride=stride, padding=1)

    def forward(self, x: Tensor, size: torch.Size | None = None) -> Tensor:
        """The other grid; ``size`` is the one to enlarge to."""
        if self.way == "up" and size is not None:
            x = enlarged(x, size)
        elif self.conv is None:
            return halved(x)
        return x if self.conv is None else self.conv(x)


class Stage(nn.Module):
    """A residual block, and perhaps attention and a change of the grid."""

    def __init__(
        self,
        block: ResBlock | None = None,
        attention: SelfAttention | None = None,
        resample: Resampling | ResBlock | None = None,
    ) -> None:
        super().__init__()
        self.block, self.attention, self.resample = block, attention, resample

    def forward(self, h: Tensor, silu_e: Tensor, size: torch.Size | None = None) -> Tensor:
        """All there is, in that order."""
        if self.block is not None:
            h = self.block(h, silu_e)
        if self.attention is not None:
            h = self.attention(h)
        if isinstance(self.resample, ResBlock):
            h = self.resample(h, silu_e, size)
        elif self.resample is not None:
            h = self.resample(h, size)
        return h
