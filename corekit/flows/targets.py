"""Densities known up to a constant, to fit a flow to without data."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.data_spec import Shape

LogDensity = Callable[[Tensor], Tensor]
"""Called with x ``(B, *event_shape)``; log of an unnormalised density ``(B,)``, nats."""

BANANA_SD, BANANA_BEND = 1.5, 0.5
MODES, MODE_SDS, MODE_SHARES = (-2.0, 2.0), (0.5, 0.7), (0.35, 0.65)
FUNNEL_SD = 1.5


class Target(NamedTuple):
    """A density up to a constant.

    Attributes:
        log_density: log of the density times Z.
        event_shape: Shape of one point.
        log_z: log Z, where it is known.
    """

    log_density: LogDensity
    event_shape: Shape
    log_z: float | None = None


def banana(x: Tensor) -> Tensor:
    r"""A Gaussian bent along a parabola.

    .. math:: \log \tilde p = -\frac{x_1^2}{2 \cdot 1.5^2} - \frac12 (x_2 - 0.5\,(x_1^2 - 1.5^2))^2
    """
    first, second = x.unbind(1)
    bend = BANANA_BEND * (first.square() - BANANA_SD**2)
    return -0.5 * (first / BANANA_SD).square() - 0.5 * (second - bend).square()


def two_modes(x: Tensor) -> Tensor:
    r"""Two Gaussians about (-2, -2) and (2, 2), of sd 0.5 and 0.7, shares 0.35 and 0.65.

    .. math:: \log \tilde p = \log \sum_k 2 \pi \frac{w_k}{2 \pi s_k^2}
        \exp\Big(-\frac{|x - m_k|^2}{2 s_k^2}\Big)
    """
    parts = [
        math.log(share / sd**2) - (x - mode).square().sum(1) / (2 * sd**2)
        for mode, sd, share in zip(MODES, MODE_SDS, MODE_SHARES, strict=True)
    ]
    return torch.logsumexp(torch.stack(parts), dim=0)


def funnel(x: Tensor) -> Tensor:
    r"""The second coordinate's width is an exponential of the first: wide at one end, thin at one.

    .. math:: \log \tilde p = -\frac{x_1^2}{2 \cdot 1.5^2} - \frac12 e^{-x_1} x_2^2 - \frac12 x_1
    """
    first, second = x.unbind(1)
    narrow = second.square() * (-first).exp()
    return -0.5 * (first / FUNNEL_SD).square() - 0.5 * narrow - 0.5 * first


TARGETS: dict[str, Target] = {
    "banana": Target(banana, (2,), math.log(2 * math.pi * BANANA_SD)),
    "two_modes": Target(two_modes, (2,), math.log(2 * math.pi)),
    "funnel": Target(funnel, (2,), math.log(2 * math.pi * FUNNEL_SD)),
}
"""The funnel is Neal's (Slice Sampling, 2003) in two dimensions, with a milder sd."""
