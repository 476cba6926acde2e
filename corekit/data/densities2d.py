"""Classic densities in the plane: how to draw from them, and their log-density where it is known.

Where numbers are customary, they are those of the figures of FFJORD, whose pictures show
[-4, 4] x [-4, 4]. `noise` scales the standard deviations; at 1 they are the customary ones.

Sources: Grathwohl et al., FFJORD, ICLR 2019, figure 2, https://arxiv.org/abs/1810.01367; of the
smiley Berkeley CS294-158, homework 2, https://sites.google.com/view/berkeley-cs294-158-sp20.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Draw = Callable[[np.random.Generator, int, float], np.ndarray]
LogDensity = Callable[[Tensor, float], Tensor]


def moons(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Two half circles of radius 2 that reach into each other, with Gaussian noise of sd 0.2."""
    moon = _MOONS[rng.integers(2, size=n)]
    centre, sign = moon[:, :2], moon[:, 2:]
    return centre + sign * 2 * _circle(np.pi * rng.random(n)) + _normal(rng, n, _MOON_SD * noise)


def checkerboard(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Uniform on eight of the sixteen squares of side 2 in [-4, 4] x [-4, 4]; there is no noise."""
    column = rng.integers(-2, 2, n)
    row = column % 2 - 2 * rng.integers(2, size=n)
    # Multiples of 2^-20: float32 holds them, and rounds no point into the next square.
    inside = rng.integers(2**20, size=(n, 2)) / 2**20
    return 2 * (np.stack([column, row], 1) + inside)


def eight_gaussians(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Eight Gaussians of sd 1 / (2 sqrt 2), their means on a circle of radius 2 sqrt 2."""
    return _MEANS[rng.integers(8, size=n)] + _normal(rng, n, _GAUSSIAN_SD * noise)


def rings(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Four circles about the origin, of radius 0.75, 1.5, 2.25 and 3, with noise of sd 0.08."""
    radius = _RADII[rng.integers(4, size=n)]
    on_circle = radius[:, None] * _circle(2 * np.pi * rng.random(n))
    return on_circle + _normal(rng, n, _RING_SD * noise)


def pinwheel(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Five arms, twisted by exp(r) / 4 at radius r: about 1, sd 0.3 along and 0.1 across an arm."""
    along = 1 + 0.3 * noise * rng.standard_normal(n)
    across = 0.1 * noise * rng.standard_normal(n)
    angle = -(2 * np.pi / 5 * rng.integers(5, size=n) + np.exp(along) / 4)
    outwards = _circle(angle)
    sideways = np.stack([-outwards[:, 1], outwards[:, 0]], 1)
    return 2 * (along[:, None] * outwards + across[:, None] * sideways)


def spirals(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Two spirals of one and a half turns, offset by up to 1/6, with noise of sd 0.1."""
    angle = 3 * np.pi * np.sqrt(rng.random(n))
    spiral = angle[:, None] * _circle(np.pi - angle) + 0.5 * noise * rng.random((n, 2))
    side = 2 * rng.integers(2, size=(n, 1)) - 1
    return side * spiral / 3 + _normal(rng, n, 0.1 * noise)


def smiley(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Two eyes at (-1.5, 2.5) and (1.5, 2.5), a mouth of half an ellipse, noise of sd 0.2 each."""
    part, angle = rng.integers(3, size=n), np.pi * rng.random(n)
    mouth = _circle(angle) * [2, -1]
    centre = np.where(part[:, None] == 2, mouth, _EYES[part % 2])
    return centre + _normal(rng, n, _SMILEY_SD * noise)


def moons_log_density(x: Tensor, noise: float) -> Tensor:
    """log of the mean over both arcs of N(x; point of the arc, sd^2), by Gauss-Legendre.

    The integrand is analytic, and with nodes closer than sd the error is that of float64.
    """
    angle, weights = _half_turn(noise)
    arc = 2 * _circle(angle)
    points = torch.from_numpy(np.concatenate([m[:2] + m[2:] * arc for m in _MOONS]))
    log_weights = torch.from_numpy(np.log(np.tile(weights, 2) / 4))  # they sum to one
    return _mixture(x, points, _MOON_SD * noise, log_weights)


def smiley_log_density(x: Tensor, noise: float) -> Tensor:
    """log of the mean over two eyes and the mouth, the latter by Gauss-Legendre."""
    angle, weights = _half_turn(noise)
    points = torch.from_numpy(np.concatenate([_EYES, _circle(angle) * [2, -1]]))
    shares = np.concatenate([[1 / 3, 1 / 3], weights / 6])  # the weights sum to two
    return _mixture(x, points, _SMILEY_SD * noise, torch.from_numpy(np.log(shares)))


def checkerboard_log_density(x: Tensor, noise: float) -> Tensor:
    """-log 32 on the squares whose row and column are both even or both odd; else -infinity."""
    even = (x / 2).floor().sum(1) % 2 == 0
    inside = even & (x >= -4).all(1) & (x < 4).all(1)
    return torch.where(inside, -math.log(32), -math.inf).to(x.dtype)


def eight_gaussians_log_density(x: Tensor, noise: float) -> Tensor:
    """log of the mean of eight N(x; mean_k, sd^2)."""
    even = torch.full((8,), -math.log(8), dtype=x.dtype)
    return _mixture(x, torch.from_numpy(_MEANS), _GAUSSIAN_SD * noise, even)


def rings_log_density(x: Tensor, noise: float) -> Tensor:
    r"""A circle of radius R blurred by sd s, at distance r from its centre; the mean of four.

    .. math:: p(x) = \frac1{2 \pi s^2} e^{-(r^2 + R^2) / 2 s^2} I_0(r R / s^2)
    """
    s2 = (_RING_SD * noise) ** 2
    r, radius = x.norm(dim=1)[:, None], torch.from_numpy(_RADII)
    log_bessel = torch.special.i0e(r * radius / s2).log()  # log I_0(y) - y
    each = -((r - radius) ** 2) / (2 * s2) + log_bessel - math.log(2 * math.pi * s2)
    return each.logsumexp(1) - math.log(4)


def _mixture(x: Tensor, means: Tensor, sd: float, log_weights: Tensor) -> Tensor:
    """log sum_k w_k N(x; mean_k, sd^2), ``(B,)``."""
    square = torch.cdist(x, means, compute_mode=_DIRECT).square()  # (B, K)
    each = log_weights - square / (2 * sd**2)
    return each.logsumexp(1) - math.log(2 * math.pi * sd**2)


def _half_turn(noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles between 0 and pi, and their weights, which sum to two."""
    nodes, weights = np.polynomial.legendre.leggauss(math.ceil(64 + 100 / noise))
    return np.pi * (nodes + 1) / 2, weights


def _circle(angle: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def _normal(rng: np.random.Generator, n: int, sd: float) -> np.ndarray:
    return sd * rng.standard_normal((n, 2))


_MOONS = np.array([[-1, -0.2, 1, 1], [1, 0.8, -1, -1]])  # centre, then which way the arc opens
_MOON_SD, _RING_SD, _GAUSSIAN_SD = 0.2, 0.08, 0.5 / math.sqrt(2)
_EYES, _SMILEY_SD = np.array([[-1.5, 2.5], [1.5, 2.5]]), 0.2
_DIRECT = "donot_use_mm_for_euclid_dist"  # |x|^2 - 2 x.m + |m|^2 loses digits
_MEANS = 4 / math.sqrt(2) * _circle(np.arange(8) * np.pi / 4)
_RADII = 3 * np.array([0.25, 0.5, 0.75, 1.0])

DENSITIES: dict[str, tuple[Draw, LogDensity | None]] = {
    "moons": (moons, moons_log_density),
    "checkerboard": (checkerboard, checkerboard_log_density),
    "eight_gaussians": (eight_gaussians, eight_gaussians_log_density),
    "rings": (rings, rings_log_density),
    "smiley": (smiley, smiley_log_density),
    "pinwheel": (pinwheel, None),
    "spirals": (spirals, None),
}
