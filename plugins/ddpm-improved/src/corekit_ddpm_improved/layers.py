"""Small layers of diffusion networks: convolutions by dimension, norms, resampling, sinusoids."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    group_norm,
    interpolate,
    linear,
    scaled_dot_product_attention,
)

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


class GroupNorm(nn.GroupNorm):
    r"""Group normalisation in float32 at least: 32 groups, or as many as divide the channels.

    .. math:: y = (1 + s) \odot (w \odot \hat x + c) + b

    Scale s and shift b are folded into w and c where memory is ordered sample by sample, channel by
    channel: there they cost no pass over x.

    Shape: x, y ``(B, channels, ...)``, of one dtype; steer, (s, b) ``(B, 2 * channels)`` or None.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(max(g for g in range(1, 33) if channels % g == 0), channels)

    def forward(self, x: Tensor, steer: Tensor | None = None) -> Tensor:
        """y."""
        wide = torch.promote_types(x.dtype, torch.float32)
        gain, bias = self.weight.to(wide), self.bias.to(wide)
        # On a CPU torch's norm (2.13) takes half precision and sums in float32; but where channels
        # lie together its backward pass in half precision takes several times as long.
        h = x if x.device.type == "cpu" and x.is_contiguous() else x.to(wide)
        if steer is None:
            return group_norm(h, self.num_groups, gain, bias, self.eps).to(x.dtype)
        scale, shift = steer.to(wide).chunk(2, dim=1)
        gain, bias = gain * (1 + scale), torch.addcmul(shift, bias, 1 + scale)  # (B, channels)
        if x.is_contiguous() and len(x):  # samples side by side, as if channels of one
            groups, one = len(x) * self.num_groups, h.view(1, -1, *x.shape[2:])
            h = torch.group_norm(one, groups, gain.flatten(), bias.flatten(), self.eps)
            return h.view(x.shape).to(x.dtype)
        gain, bias = (p.reshape(*p.shape, *(1,) * (x.ndim - 2)) for p in (gain, bias))
        return torch.addcmul(bias, group_norm(h, self.num_groups, eps=self.eps), gain).to(x.dtype)


class Pointwise(nn.Conv2d):
    """A convolution of width 1; on images whose channels lie together, a matrix product.

    There torch (2.13, CPU) has no fast convolution of width 1.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The same map at every position."""
        if x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last):
            return linear(x.movedim(1, -1), self.weight.flatten(1), self.bias).movedim(-1, 1)
        return super().forward(x)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    r"""Every row of q looks at all rows of k and v.

    .. math:: \text{softmax}(q k^\top / \sqrt d)\, v

    By torch's fused kernel, whose backward pass on a CPU is two to five times slower than the plain
    formula in half precision (torch 2.13): there this is the formula. (Its softmax computes in
    float32 and rounds, without copies.)

    Shape: q, k, v and the result ``(B, heads, positions, d)``.
    """
    if q.device.type == "cpu" and q.dtype in (torch.bfloat16, torch.float16) and q.requires_grad:
        weight = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
        return torch.softmax(weight, -1) @ v
    return scaled_dot_product_attention(q, k, v)


def sinusoids(time: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    r"""Cosines and sines of a time at ``width // 2`` frequencies from 1 to 1 / max_period.

    .. math:: (\cos \omega_k t, \sin \omega_k t), \qquad \omega_k = P^{-k / K}, \quad k < K

    Shape: time ``(B,)``, integer or not; result ``(B, width)``; an odd width ends in zeros.

    Source: Vaswani et al., Attention Is All You Need, 2017, section 3.5; with cosines first and
        this spacing as in improved-diffusion, nn.py.
    """
    half = width // 2
    k = torch.arange(half, dtype=time.dtype, device=time.device)
    angles = time[:, None] * torch.exp(-math.log(max_period) * k / half)
    found = torch.cat((angles.cos(), angles.sin()), dim=1)
    return nn.functional.pad(found, (0, width - 2 * half))


def halved(x: Tensor) -> Tensor:
    """Averages of 2 x 2 positions (of the last two axes, where there are three)."""
    dims = x.ndim - 2
    size = (1, 2, 2) if dims == 3 else (2,) * dims
    half: Tensor = _POOLS[dims](x, size, ceil_mode=True)
    return half


def enlarged(x: Tensor, size: torch.Size) -> Tensor:
    """Nearest neighbours on a grid of another size."""
    return interpolate(x, size=tuple(size), mode="nearest")


def zeroed(layer: nn.Module) -> nn.Module:
    """The same layer with weights and biases of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer
