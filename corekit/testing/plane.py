"""Integrals of densities over the plane."""

import math

import torch
from torch import Tensor

REACH = 9.0
"""Half the width of the square that is integrated over."""

POINTS = 73
"""Points on each of its axes."""


def points_of_the_plane() -> tuple[Tensor, float]:
    """A grid of points ``(N, 2)``, float64, and the area that each stands for."""
    axis = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (2 * REACH / (POINTS - 1)) ** 2


def normal_log_density(z: Tensor) -> Tensor:
    """Log-density of independent normal numbers with standard deviation 1/2, ``(B,)``, nats."""
    return (-2 * z.square() + math.log(2) - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def moments(x: Tensor) -> Tensor:
    """1, x_1, x_2, x_1^2, x_1 x_2, x_2^2 of points ``(N, 2)``: ``(N, 6)``."""
    one, two = x.unbind(1)
    return torch.stack((torch.ones_like(one), one, two, one * one, one * two, two * two), dim=1)
