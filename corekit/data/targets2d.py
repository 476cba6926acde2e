"""A data set of exact draws from the densities that flows are fitted to without data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from corekit.data.procedural import Draw, LogDensity, Procedural
from corekit.flows.targets import (
    BANANA_BEND,
    BANANA_SD,
    FUNNEL_SD,
    MODE_SDS,
    MODE_SHARES,
    MODES,
    TARGETS,
)


def banana(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """A Gaussian bent along a parabola."""
    first = BANANA_SD * rng.standard_normal(n)
    second = BANANA_BEND * (first**2 - BANANA_SD**2) + rng.standard_normal(n)
    return np.stack([first, second], 1)


def two_modes(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """Two Gaussians."""
    which = rng.choice(2, n, p=MODE_SHARES)
    return np.array(MODES)[which, None] + np.array(MODE_SDS)[which, None] * rng.standard_normal(
        (n, 2)
    )


def funnel(rng: np.random.Generator, n: int, noise: float) -> np.ndarray:
    """The first coordinate is twice the log of the sd of the second."""
    first = FUNNEL_SD * rng.standard_normal(n)
    return np.stack([first, np.exp(first / 2) * rng.standard_normal(n)], 1)


def _normalised(name: str) -> Callable[[Tensor, float], Tensor]:
    target = TARGETS[name]
    return lambda x, noise: target.log_density(x) - (target.log_z or 0.0)


DRAWS: dict[str, Draw] = {"banana": banana, "two_modes": two_modes, "funnel": funnel}
DENSITIES: dict[str, tuple[Draw, LogDensity | None]] = {
    name: (draw, _normalised(name)) for name, draw in DRAWS.items()
}


class Targets2d(Procedural):
    """Exact draws from a banana, two modes or a funnel: what `variational_flow` is compared with.

    A flow that is fitted without data looks at nothing but the number of rows of a batch. Held-out
    rows show what it has missed: log p(x) of the model over them, beside that of the truth.

    Args:
        density: banana, two_modes or funnel.
        size: Training points, of which only the number counts.
        held_out: Points in "val", and in "test".
        seed: Another seed, other points.

    Example:
        >>> data = Targets2d("banana", size=100)
        >>> data.split("train").points().shape
        torch.Size([100, 2])
    """

    kind, table, features = "targets2d", DENSITIES, 2

    def __init__(
        self, density: str = "banana", *, size: int = 10_000, held_out: int = 2_000, seed: int = 0
    ) -> None:
        super().__init__(density, size=size, held_out=held_out, seed=seed)
