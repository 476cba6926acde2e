"""Convolutions with what follows them folded into the kernel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from corekit.flows.actnorm import ActNorm
from corekit.interfaces.frozen import Derived

Kernel = tuple[Tensor, Tensor, Tensor | None]
"""Weight, bias, and the kernel of the border."""

STD = 0.05
"""Standard deviation of new kernels."""


class NormedConv(Derived):
    r"""A convolution that keeps height and width, and an `ActNorm` of its channels.

    .. math:: y_c = ((w * x)_c + b_c)\, e^{\ell_c}

    Without ActNorm it has a bias: y = w * x + b. Shift and scale are folded into the kernel
    wherever the kernel is smaller than what they would be applied to.

    Args:
        channels, out_channels: Of x and y.
        kernel: Side of the kernel, odd.
        norm: Whether there is an ActNorm; it starts from data (`start`).
        edge: Whether one more input channel, 1 in the ring of padding and 0 inside, tells where
            the border is.

    Shape: x ``(B, channels, H, W)``, y ``(B, out_channels, H, W)``.
    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, and their code.
    """

    def __init__(
        self, channels: int, out_channels: int, kernel: int, *, norm: bool, edge: bool
    ) -> None:
        super().__init__()
        self.padding = kernel // 2
        self.weight = nn.Parameter(STD * torch.randn(out_channels, channels, kernel, kernel))
        self.edge = None
        if edge and self.padding:
            self.edge = nn.Parameter(STD * torch.randn(out_channels, 1, kernel, kernel))
        self.norm = ActNorm((out_channels, 1, 1)) if norm else None
        self.bias = None if norm else nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        norm = self.norm
        if norm is None:
            return convolved(x, self.weight, self.bias, self.edge, self.padding)
        if pays(x, self.weight):
            folded = self.derived("folded", lambda: self._folded(norm), *self.parameters())
            return convolved(x, *folded, self.padding)
        y = self.without_norm(x)
        return (y + norm.shift.to(y.dtype)) * norm.log_scale.exp().to(y.dtype)

    def _folded(self, norm: ActNorm) -> Kernel:
        scale = norm.log_scale.exp()
        edge = None if self.edge is None else self.edge * scale[:, None]
        return self.weight * scale[:, None], (norm.shift * scale).flatten(), edge

    def without_norm(self, x: Tensor) -> Tensor:
        """w * x: what ActNorm starts from."""
        return convolved(x, self.weight, None, self.edge, self.padding)


class ZeroConv(Derived):
    r"""A convolution that gives zeros at first, with a scale per channel.

    .. math:: y_c = ((w * x)_c + b_c)\, e^{f \ell_c}

    f multiplies the rate at which the scales are learned.

    Args:
        channels, out_channels: Of x and y.
        kernel: Side of the kernel, odd.
        logscale_factor: f; 0 for no scale.
        edge: As in `NormedConv`.

    Shape: x ``(B, channels, H, W)``, y ``(B, out_channels, H, W)``.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int = 3,
        *,
        logscale_factor: float = 3.0,
        edge: bool = False,
    ) -> None:
        super().__init__()
        self.padding, self.factor = kernel // 2, logscale_factor
        self.weight = nn.Parameter(torch.zeros(out_channels, channels, kernel, kernel))
        self.edge = None
        if edge and self.padding:
            self.edge = nn.Parameter(torch.zeros(out_channels, 1, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.logs = nn.Parameter(torch.zeros(out_channels)) if logscale_factor else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        logs = self.logs
        if logs is not None and pays(x, self.weight):
            folded = self.derived("folded", lambda: self._folded(logs), *self.parameters())
            return convolved(x, *folded, self.padding)
        y = convolved(x, self.weight, self.bias, self.edge, self.padding)
        return y if logs is None else y * (self.factor * logs).exp()[:, None, None].to(y.dtype)

    def _folded(self, logs: Tensor) -> Kernel:
        scale = (self.factor * logs).exp()
        each = scale[:, None, None, None]
        edge = None if self.edge is None else self.edge * each
        return self.weight * each, self.bias * scale, edge


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a scaled copy of a kernel is smaller than one of the output."""
    return x.shape[0] * math.prod(x.shape[2:]) >= math.prod(weight.shape[1:])


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, edge: Tensor | None, padding: int
) -> Tensor:
    """The convolution in the dtype of x, with a channel that marks the padding where given."""
    dtype = x.dtype
    bias = None if bias is None else bias.to(dtype)
    y = conv2d(x, weight.to(dtype), bias, padding=padding)
    return y if edge is None else y + ring(edge.to(dtype), x.shape[2:])


def ring(edge: Tensor, size: Sequence[int]) -> Tensor:
    """The convolution of a picture that is 1 around these pixels and 0 inside: ``(1, C, H, W)``."""
    inside = torch.zeros(1, 1, *size, dtype=edge.dtype, device=edge.device)
    return conv2d(pad(inside, [edge.shape[-1] // 2] * 4, value=1.0), edge)
