"""The arithmetic of improved-diffusion's U-Net written anew, to be timed beside corekit's.

Sigmoid times x for SiLU; queries, keys and values by a convolution of width 1, head by head, both
scaled by the fourth root, attention by two einsums; group norms in float32; recomputation none.
"""

import math

import torch
from torch import Tensor, nn


class Silu(nn.Module):
    """x sigmoid(x), as two operations."""

    def forward(self, x: Tensor) -> Tensor:
        """The value."""
        return x * torch.sigmoid(x)


class Norm(nn.GroupNorm):
    """32 groups, in float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalised."""
        return super().forward(x.float()).type(x.dtype)


class Block(nn.Module):
    """A residual block with scale and shift."""

    def __init__(self, channels: int, out: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            Norm(32, channels), Silu(), nn.Conv2d(channels, out, 3, padding=1)
        )
        self.embed = nn.Sequential(Silu(), nn.Linear(width, 2 * out))
        self.norm = Norm(32, out)
        self.last = nn.Sequential(Silu(), nn.Dropout(0.0), nn.Conv2d(out, out, 3, padding=1))
        self.skip = nn.Identity() if channels == out else nn.Conv2d(channels, out, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Two convolutions."""
        h = self.first(x)
        scale, shift = self.embed(e)[..., None, None].chunk(2, dim=1)
        return self.skip(x) + self.last(self.norm(h) * (1 + scale) + shift)


class Attention(nn.Module):
    """Over all positions."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.norm = heads, Norm(32, channels)
        self.qkv, self.out = nn.Conv1d(channels, 3 * channels, 1), nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Added to x."""
        rows = x.reshape(*x.shape[:2], -1)
        qkv = self.qkv(self.norm(rows))
        q, k, v = qkv.reshape(len(x) * self.heads, -1, rows.shape[2]).chunk(3, dim=1)
        scale = 1 / math.sqrt(math.sqrt(q.shape[1]))
        weight = torch.einsum("bct,bcs->bts", q * scale, k * scale)
        weight = torch.softmax(weight.float(), dim=-1).type(weight.dtype)
        seen = torch.einsum("bts,bcs->bct", weight, v).reshape(rows.shape)
        return (rows + self.out(seen)).reshape(x.shape)


class Both(nn.Module):
    """A convolution that changes the grid; the embedding is left aside."""

    def __init__(self, channels: int, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(channels, channels, 3, stride=2 if way == "down" else 1, padding=1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        """Half or double."""
        if self.way == "up":
            x = nn.functional.interpolate(x, scale_factor=2, mode="nearest")
        return self.conv(x)


class ReferenceUNet(nn.Module):
    """Blocks, attention at the factors given and in the middle, a skip from every block."""

    def __init__(
        self,
        channels: int = 64,
        multipliers: tuple[int, ...] = (1, 2, 2, 2),
        blocks: int = 2,
        attention: tuple[int, ...] = (2, 4),
        heads: int = 4,
        colours: int = 3,
        out: int = 3,
    ) -> None:
        super().__init__()
        width = 4 * channels
        self.channels = channels
        self.time = nn.Sequential(nn.Linear(channels, width), Silu(), nn.Linear(width, width))
        self.down = nn.ModuleList([nn.ModuleList([nn.Conv2d(colours, channels, 3, padding=1)])])
        at, kept, factor = channels, [channels], 1
        for level, times in enumerate(multipliers):
            for _ in range(blocks):
                layers = [Block(at, times * channels, width)]
                at = times * channels
                if factor in attention:
                    layers.append(Attention(at, heads))
                self.down.append(nn.ModuleList(layers))
                kept.append(at)
            if level < len(multipliers) - 1:
                self.down.append(nn.ModuleList([Both(at, "down")]))
                kept.append(at)
                factor *= 2
        self.middle = nn.ModuleList([Block(at, at, width), Attention(at, heads)])
        self.middle.append(Block(at, at, width))
        self.up = nn.ModuleList()
        for level, times in reversed(list(enumerate(multipliers))):
            for i in range(blocks + 1):
                layers = [Block(at + kept.pop(), times * channels, width)]
                at = times * channels
                if factor in attention:
                    layers.append(Attention(at, heads))
                if level and i == blocks:
                    layers.append(Both(at, "up"))
                    factor //= 2
                self.up.append(nn.ModuleList(layers))
        self.head = nn.Sequential(Norm(32, at), Silu(), nn.Conv2d(at, out, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """What it predicts of x at the steps t."""
        half = self.channels // 2
        freqs = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32) / half)
        angles = t[:, None].float() * freqs[None]
        e = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        kept, h = [], x
        for layers in self.down:
            for layer in layers:
                h = layer(h) if isinstance(layer, nn.Conv2d) else layer(h, e)
            kept.append(h)
        for layer in self.middle:
            h = layer(h, e)
        for layers in self.up:
            h = torch.cat([h, kept.pop()], dim=1)
            for layer in layers:
                h = layer(h, e)
        return self.head(h)
