"""Linear layer, batch norm and maximum over points in one, without the large tensor between."""

from typing import Any

import torch
from torch import Tensor, nn

ROWS = 2048
"""Points that go through the layer together."""


def max_of_norm(h: Tensor, linear: nn.Linear, norm: nn.BatchNorm1d) -> Tensor:
    r"""max_i BN(W h_i + b) over the points of each cloud, in training.

    Batch norm is increasing per channel once W has the sign of its weight gamma, so the maximum of
    y = W h is taken first and (B, C) numbers are normalised instead of (B, N, C). The gradient of
    the statistics is affine in y, hence a product with K x K matrices: half the work of the layer's
    own backward, and y is never stored. Updates the running statistics.

    Shape: h ``(B, N, K)``; result ``(B, C)``.
    """
    sign = torch.where(norm.weight < 0, -1.0, 1.0).to(h.dtype)
    weight, bias = linear.weight * sign.unsqueeze(1), linear.bias * sign
    top, mean, var = _MaxAndMoments.apply(h, weight, bias)
    normed = (top - mean) * torch.rsqrt(var + norm.eps)
    with torch.no_grad():
        rows = h.shape[0] * h.shape[1]
        tracked: Any = norm  # its statistics and momentum are not None here
        tracked.running_mean.lerp_(mean * sign, tracked.momentum)
        tracked.running_var.lerp_(var * (rows / (rows - 1)), tracked.momentum)
        tracked.num_batches_tracked.add_(1)
    return normed * (norm.weight * sign) + norm.bias


class _MaxAndMoments(torch.autograd.Function):
    """(max_i y, mean y, var y) of y = W h + b: maxima ``(B, C)``, moments of all rows ``(C,)``."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        tops, places, means, variances = [], [], [], []
        for clouds in h.split(max(1, ROWS // h.shape[1])):  # y stays in the cache
            y = nn.functional.linear(clouds, weight, bias)  # (k, N, C)
            top, place = y.max(1)
            mean = y.mean(1)
            variance = y.sub_(mean.unsqueeze(1)).square_().mean(1)  # five times as fast as var_mean
            tops.append(top)
            places.append(place)
            means.append(mean)
            variances.append(variance)
        between, mean = torch.var_mean(torch.cat(means), 0, correction=0)
        variance = torch.cat(variances).mean(0) + between
        ctx.save_for_backward(h, weight, bias, torch.cat(places), mean)
        return torch.cat(tops), mean, variance

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any, g_top: Tensor, g_mean: Tensor, g_var: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        h, weight, bias, places, mean = ctx.saved_tensors
        rows = h.shape[0] * h.shape[1]
        # dL/dy = (g_top at the maxima) + constant + slope y, per channel.
        slope = 2 * g_var / rows
        constant = g_mean / rows + slope * (bias - mean)  # y without its bias from here on
        flat = h.reshape(rows, -1)
        scaled = slope.unsqueeze(1) * weight
        g_h = torch.addmm(constant @ weight, flat, weight.t() @ scaled).view_as(h)
        g_weight = scaled @ (flat.t() @ flat) + torch.outer(constant, flat.sum(0))
        at = places.unsqueeze(2).expand(-1, -1, h.shape[2])  # (B, C, K)
        # A maximum of several channels may lie at one point; scatter_add_ adds in a fixed order.
        g_h.scatter_add_(1, at, g_top.unsqueeze(2) * weight)
        g_weight.add_((g_top.unsqueeze(2) * h.gather(1, at)).sum(0))
        return g_h, g_weight, g_top.sum(0) + g_mean
