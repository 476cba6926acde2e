"""The arithmetic of the torch ports of Glow, written anew: what a user of them has.

Every step is a pass of its own over the pixels: ActNorm, 1x1 convolution, a network whose ActNorms
and scales are passes too, shift and scale of interleaved channels. y0ast's differs from chaiyujin's
in nothing that costs time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class ActNorm(nn.Module):
    """(x + bias) exp(logs), from the first batch in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.logs = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.inited = False

    def forward(self, x: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
        """z and the log-determinant of one picture."""
        if self.training and not self.inited:
            with torch.no_grad():
                self.bias.copy_(-x.mean((0, 2, 3), keepdim=True))
                var = x.var((0, 2, 3), correction=0, keepdim=True)
                self.logs.copy_(-(var.sqrt() + 1e-6).log())
            self.inited = True
        logdet = self.logs.sum() * x.shape[2] * x.shape[3]
        if back:
            return x * torch.exp(-self.logs) - self.bias, -logdet
        return (x + self.bias) * torch.exp(self.logs), logdet


class NormedConv(nn.Module):
    """A convolution, then ActNorm."""

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
        nn.init.normal_(self.conv.weight, 0, 0.05)
        self.norm = ActNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.norm(self.conv(x))[0]


class ZeroConv(nn.Module):
    """A convolution that starts with zeros, then exp(3 logs)."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        nn.init.zeros_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)
        self.logs = nn.Parameter(torch.zeros(out, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        return self.conv(x) * torch.exp(3 * self.logs)


class Mixing(nn.Module):
    """A 1x1 convolution: plain, or P L (U + diag(sign exp(log_s)))."""

    def __init__(self, channels: int, *, lu: bool) -> None:
        super().__init__()
        weight = torch.linalg.qr(torch.randn(channels, channels))[0]
        self.lu = lu
        if not lu:
            self.weight = nn.Parameter(weight)
            return
        p, lower, upper = torch.linalg.lu(weight)
        s = upper.diagonal()
        self.register_buffer("p", p)
        self.register_buffer("sign", s.sign())
        self.register_buffer("mask", torch.tril(torch.ones_like(weight), -1))
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(torch.triu(upper, 1))
        self.log_s = nn.Parameter(s.abs().log())

    def forward(self, x: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
        """z and the log-determinant of one picture."""
        pixels, size = x.shape[2] * x.shape[3], x.shape[1]
        if self.lu:
            lower = self.lower * self.mask + torch.eye(size)
            upper = self.upper * self.mask.T + torch.diag(self.sign * torch.exp(self.log_s))
            logdet = self.log_s.sum() * pixels
            if back:
                weight = upper.double().inverse() @ lower.double().inverse()
                weight = (weight @ self.p.double().inverse()).float()
            else:
                weight = self.p @ lower @ upper
        else:
            logdet = torch.linalg.slogdet(self.weight)[1] * pixels
            weight = self.weight.double().inverse().float() if back else self.weight
        return conv2d(x, weight[:, :, None, None]), -logdet if back else logdet


class Step(nn.Module):
    """ActNorm, a 1x1 convolution, an affine coupling of interleaved shift and scale."""

    def __init__(self, channels: int, hidden: int, *, lu: bool) -> None:
        super().__init__()
        self.norm, self.mixing = ActNorm(channels), Mixing(channels, lu=lu)
        self.net = nn.Sequential(
            NormedConv(channels // 2, hidden, 3),
            nn.ReLU(),
            NormedConv(hidden, hidden, 1),
            nn.ReLU(),
            ZeroConv(hidden, channels),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and the log-determinant."""
        x, first = self.norm(x)
        x, second = self.mixing(x)
        a, b = x.chunk(2, dim=1)
        h = self.net(a)
        shift, scale = h[:, 0::2], torch.sigmoid(h[:, 1::2] + 2)
        b = (b + shift) * scale
        return torch.cat((a, b), 1), torch.log(scale).sum((1, 2, 3)) + first + second

    def inverse(self, z: Tensor) -> Tensor:
        """x."""
        a, b = z.chunk(2, dim=1)
        h = self.net(a)
        shift, scale = h[:, 0::2], torch.sigmoid(h[:, 1::2] + 2)
        x, _ = self.mixing(torch.cat((a, b / scale - shift), 1), back=True)
        return self.norm(x, back=True)[0]


class PortedGlow(nn.Module):
    """Levels of squeeze, steps and split; a learned prior per channel of the deepest level."""

    def __init__(
        self, shape: tuple[int, int, int], levels: int, steps: int, hidden: int, *, lu: bool
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.levels, self.splits = nn.ModuleList(), nn.ModuleList()
        for level in range(levels):
            channels, height, width = channels * 4, height // 2, width // 2
            self.levels.append(nn.ModuleList(Step(channels, hidden, lu=lu) for _ in range(steps)))
            if level < levels - 1:
                channels //= 2
                self.splits.append(ZeroConv(channels, 2 * channels))
        self.top = nn.ModuleList([ZeroConv(2 * channels, 2 * channels)])
        self.top_shape = (channels, height, width)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), nats."""
        total = torch.zeros(len(x))
        for level, steps in enumerate(self.levels):
            x = pixel_unshuffle(x, 2)
            for step in steps:
                x, logdet = step(x)
                total = total + logdet
            if level < len(self.splits):
                x, left = x.chunk(2, dim=1)
                h = self.splits[level](x)
                total = total + _normal(left, h[:, 0::2], h[:, 1::2])
        mean, logs = self._prior(len(x))
        return total + _normal(x, mean, logs)

    def sample(self, n: int) -> Tensor:
        """Draw."""
        mean, logs = self._prior(n)
        x = mean + torch.exp(logs) * torch.randn_like(mean)
        for level in range(len(self.levels) - 1, -1, -1):
            if level < len(self.splits):
                h = self.splits[level](x)
                mean, logs = h[:, 0::2], h[:, 1::2]
                x = torch.cat((x, mean + torch.exp(logs) * torch.randn_like(mean)), 1)
            for step in reversed(self.levels[level]):
                x = step.inverse(x)
            x = pixel_shuffle(x, 2)
        return x

    def _prior(self, n: int) -> tuple[Tensor, Tensor]:
        channels, height, width = self.top_shape
        mean, logs = self.top[0](torch.zeros(n, 2 * channels, height, width)).chunk(2, dim=1)
        return mean, logs


def _normal(x: Tensor, mean: Tensor, logs: Tensor) -> Tensor:
    each = -0.5 * (x - mean) ** 2 / torch.exp(2 * logs) - logs - HALF_LOG_2PI
    return each.sum((1, 2, 3))
