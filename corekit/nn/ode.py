"""Ordinary differential equations on a fixed grid of times, and the trace of a Jacobian."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from corekit.interfaces.drawing import current_draws

Trace = Literal["exact", "hutchinson"]

Field = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Called with the time, ``()`` on the CPU, and the state; gives the state's derivative."""


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method: times, weights of earlier stages, weights of the result."""

    order: int
    times: Sequence[float]
    stages: Sequence[Sequence[float]]
    result: Sequence[float]


TABLEAUS = {
    "euler": Tableau(1, [0], [[]], [1]),
    "midpoint": Tableau(2, [0, 1 / 2], [[], [1 / 2]], [0, 1]),
    "rk4": Tableau(
        4,
        [0, 1 / 2, 1 / 2, 1],
        [[], [1 / 2], [0, 1 / 2], [0, 0, 1]],
        [1 / 6, 1 / 3, 1 / 3, 1 / 6],
    ),
    "dopri5": Tableau(
        5,
        [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1],
        [
            [],
            [1 / 5],
            [3 / 40, 9 / 40],
            [44 / 45, -56 / 15, 32 / 9],
            [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
            [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
        ],
        [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
    ),
}
"""Of Dormand and Prince the result of order 5, without the estimate of its error."""


def integrate(
    field: Field,
    state: tuple[Tensor, ...],
    *,
    start: float,
    stop: float,
    method: str,
    steps: int,
) -> tuple[Tensor, ...]:
    """The state at ``stop``, in steps of equal length; it may lie before ``start``.

    Source: Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, tables II.1.2 and
        II.5.2.
    """
    tableau, h = TABLEAUS[method], (stop - start) / steps
    for step in range(steps):
        slopes: list[tuple[Tensor, ...]] = []
        for offset, weights in zip(tableau.times, tableau.stages, strict=True):
            at = start + (step + offset) * h
            time = torch.full((), at, dtype=torch.float64, device="cpu")  # nobody waits for it
            slopes.append(field(time, _moved(state, h, weights, slopes)))
        state = _moved(state, h, tableau.result, slopes)
    return state


def _moved(
    state: tuple[Tensor, ...],
    h: float,
    weights: Sequence[float],
    slopes: Sequence[tuple[Tensor, ...]],
) -> tuple[Tensor, ...]:
    """The state plus h times a weighted sum of slopes."""
    for weight, slope in zip(weights, slopes, strict=True):
        if weight:
            state = tuple(s + h * weight * d for s, d in zip(state, slope, strict=True))
    return state


def probes(x: Tensor, trace: Trace) -> Tensor:
    """Directions v whose v v' sum to the identity on average, ``(M, *x.shape)``.

    Args:
        x: ``(B, *event_shape)``.
        trace: exact: all of a basis, M = D; hutchinson: one random sign vector per row, drawn as
            "probe" from the current draws.

    Source: Hutchinson, A Stochastic Estimator of the Trace of the Influence Matrix, 1989.
    """
    if trace == "hutchinson":
        u = current_draws().uniform("probe", tuple(x.shape), x)
        return torch.where(u < 0.5, -1.0, 1.0).to(x)[None]
    event = x.shape[1:]
    size = math.prod(event)
    basis = torch.eye(size, dtype=x.dtype, device=x.device).reshape(size, 1, *event)
    return basis.expand(size, *x.shape)


def with_trace(
    at: Callable[[Tensor], Tensor], x: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """f(x), and the sum of v'Jv over the directions, ``(B,)``."""
    value, pull = torch.func.vjp(at, x)[:2]
    one = len(directions) == 1  # not every operation knows vmap: attention does not
    moved = pull(directions[0])[0][None] if one else torch.vmap(pull)(directions)[0]
    return value, (directions * moved).flatten(2).sum((0, 2))
