"""Residual blocks with group norm, attention over an image, and ways to another size."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from corekit.data_spec import Shape


def group_norm(channels: int, groups: int) -> nn.GroupNorm:
    """With the most groups up to ``groups`` that divide the channels."""
    return nn.GroupNorm(math.gcd(channels, groups), channels, eps=1e-6)


class GroupBlock(nn.Module):
    r"""s(h) + conv(silu(norm(conv(silu(norm(h)))))), s a 1x1 convolution where the widths differ.

    Args:
        channels: Of the input.
        width: Channels of the output.
        groups: Of the norms, at most.
    """

    def __init__(self, channels: int, width: int, groups: int) -> None:
        super().__init__()
        self.first = _normed(channels, width, groups)
        self.second = _normed(width, width, groups)
        self.shortcut = nn.Identity() if channels == width else nn.Conv2d(channels, width, 1)

    def forward(self, h: Tensor) -> Tensor:
        """The image behind it."""
        return self.shortcut(h) + self.second(self.first(h))


def _normed(channels: int, width: int, groups: int) -> nn.Sequential:
    return nn.Sequential(
        group_norm(channels, groups), nn.SiLU(), nn.Conv2d(channels, width, 3, padding=1)
    )


class Attention(nn.Module):
    r"""h + W softmax(q k^T / sqrt(C)) v over the pixels of an image, one head.

    Args:
        channels: C.
        groups: Of the norm, at most.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.qkv, self.out = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)

    def forward(self, h: Tensor) -> Tensor:
        """The image behind it."""
        pixels = self.qkv(self.norm(h)).flatten(2).transpose(1, 2)  # (B, H W, 3 C)
        seen = F.scaled_dot_product_attention(*pixels.chunk(3, dim=2))
        return h + self.out(seen.transpose(1, 2).reshape(h.shape))


class Halve(nn.Module):
    """A 3x3 convolution with a stride of 2 and a border on the far sides: n becomes n // 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, h: Tensor) -> Tensor:
        """The smaller image."""
        return self.conv(F.pad(h, (0, 1, 0, 1)))


class Double(nn.Module):
    """Nearest pixels, to a size, and a 3x3 convolution."""

    def __init__(self, channels: int, size: Shape) -> None:
        super().__init__()
        self.size = tuple(size)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        """The larger image."""
        return self.conv(F.interpolate(h, self.size))


def blocks_of(channels: int, width: int, times: int, groups: int) -> list[nn.Module]:
    """Residual blocks; the first of them changes the width."""
    return [GroupBlock(channels if i == 0 else width, width, groups) for i in range(times)]


def middle(width: int, groups: int, *, attention: bool) -> list[nn.Module]:
    """Two residual blocks, with attention between them."""
    between = [Attention(width, groups)] if attention else []
    return [GroupBlock(width, width, groups), *between, GroupBlock(width, width, groups)]


def ending(width: int, out: int, groups: int) -> Sequence[nn.Module]:
    """A norm, SiLU, and a convolution to other channels."""
    return list(_normed(width, out, groups))
