"""A data set of numbers drawn from a density on the line: no file, the truth is known."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from corekit.data.procedural import Draw, LogDensity, Procedural

_MEANS, _SDS = np.array([-1.0, 0.5]), np.array([0.25, 0.5])
_LEFT, _TOP, _RIGHT = -2.0, -1.5, 2.0
_CELLS = 100


def mixture(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Half N(-1, 0.25^2), half N(0.5, 0.5^2)."""
    part = rng.integers(2, size=n)
    return (_MEANS[part] + noise * _SDS[part] * rng.standard_normal(n))[:, None]


def uniform(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Uniform on [-2, 2] times the noise."""
    return noise * rng.uniform(-2, 2, (n, 1))


def triangular(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Rises from -2 to -1.5 and falls to 2, times the noise."""
    return noise * rng.triangular(_LEFT, _TOP, _RIGHT, (n, 1))


def ripples(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """A hundred steps on [0, 1] of heights tanh(sin(8 pi u) + 3 sqrt u): four waves that rise."""
    cell = rng.choice(_CELLS, n, p=_heights() / _heights().sum())
    return noise * ((cell + rng.random(n)) / _CELLS)[:, None]


def mixture_log_density(x: Tensor, noise: float) -> Tensor:
    """log of the mean of two N(x; mean_k, sd_k^2)."""
    sd = noise * torch.from_numpy(_SDS)
    each = -(((x - torch.from_numpy(_MEANS)) / sd) ** 2) / 2 - sd.log()
    return each.logsumexp(1) - math.log(2 * math.sqrt(2 * math.pi))


def uniform_log_density(x: Tensor, noise: float) -> Tensor:
    """-log of the length inside, -infinity outside."""
    return torch.where(x[:, 0].abs() <= 2 * noise, -math.log(4 * noise), -math.inf).to(x.dtype)


def triangular_log_density(x: Tensor, noise: float) -> Tensor:
    """log of two lines that meet in the top, 2 / (right - left) high."""
    u = x[:, 0] / noise
    rising, falling = (u - _LEFT) / (_TOP - _LEFT), (_RIGHT - u) / (_RIGHT - _TOP)
    height = torch.minimum(rising, falling).clamp(min=0)
    return height.log() + math.log(2 / (_RIGHT - _LEFT) / noise)


def ripples_log_density(x: Tensor, noise: float) -> Tensor:
    """log of the height of the step that x lies in."""
    heights = torch.from_numpy(np.log(_heights() / _heights().mean()))
    u = x[:, 0] / noise
    inside = (u >= 0) & (u < 1)
    cell = (u.clamp(0, 1) * _CELLS).long().clamp(max=_CELLS - 1)
    return torch.where(inside, heights[cell] - math.log(noise), -math.inf)


def _heights() -> np.ndarray:
    u = (np.arange(_CELLS) + 0.5) / _CELLS
    return np.tanh(np.sin(8 * np.pi * u) + 3 * np.sqrt(u))


DENSITIES: dict[str, tuple[Draw, LogDensity | None]] = {
    "mixture": (mixture, mixture_log_density),
    "uniform": (uniform, uniform_log_density),
    "triangular": (triangular, triangular_log_density),
    "ripples": (ripples, ripples_log_density),
}


class Toy1d(Procedural):
    """A mixture of two Gaussians, a uniform or triangular density, or ripples.

    Args:
        density: Which of `corekit.data.toy1d.DENSITIES`.
        size: Training points. Point i is the same in a set of any size.
        held_out: Points in "val", and in "test".
        noise: Scales the density; of the mixture its standard deviations.
        seed: Another seed, other points.
        fresh: Draw each training point anew each time it is read.

    Source: Berkeley CS294-158, https://sites.google.com/view/berkeley-cs294-158-sp20.

    Example:
        >>> data = Toy1d("uniform", size=100)
        >>> points = data.split("train").points()
        >>> points.shape, data.log_prob(points).value[0]
        (torch.Size([100, 1]), tensor(-1.3863, dtype=torch.float64))
    """

    kind, table, features = "toy1d", DENSITIES, 1

    def __init__(
        self,
        density: str = "mixture",
        *,
        size: int = 10_000,
        held_out: int = 2_000,
        noise: float = 1.0,
        seed: int = 0,
        fresh: bool = False,
    ) -> None:
        super().__init__(density, size=size, held_out=held_out, noise=noise, seed=seed, fresh=fresh)
