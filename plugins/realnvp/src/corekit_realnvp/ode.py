"""Ordinary differential equations on a fixed grid of times, or by torchdiffeq."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.errors import UsageError

Field = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""Called with the time ``()`` and the state; gives the state's derivative."""


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
    like = state[0]
    for step in range(steps):
        slopes: list[tuple[Tensor, ...]] = []
        for offset, weights in zip(tableau.times, tableau.stages, strict=True):
            time = torch.full((), start + (step + offset) * h, dtype=like.dtype, device=like.device)
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


def integrate_adaptively(
    field: Field,
    state: tuple[Tensor, ...],
    *,
    start: float,
    stop: float,
    tolerance: float,
    parameters: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """The same by torchdiffeq's Dormand-Prince method, whose steps are as long as may be.

    Args:
        field: The derivative.
        state: At the start.
        start: First time.
        stop: Last time.
        tolerance: Of one step, relative and absolute.
        parameters: What gradients should reach beside the state, by the adjoint equation, with
            memory that does not grow with the steps; None for gradients through the steps.

    Raises:
        UsageError: If torchdiffeq is not installed.
    """
    try:
        import torchdiffeq
    except ImportError as error:
        raise UsageError(
            "Continuous: the solver 'adaptive' must have torchdiffeq, got no such package. "
            "pip install corekit-realnvp[ode], or take a fixed grid: rk4 or dopri5."
        ) from error
    times = torch.tensor([start, stop], dtype=state[0].dtype, device=state[0].device)
    options = {"rtol": tolerance, "atol": tolerance, "method": "dopri5"}
    if parameters is None:
        path = torchdiffeq.odeint(field, state, times, **options)
    else:
        path = torchdiffeq.odeint_adjoint(
            field, state, times, adjoint_params=tuple(parameters), **options
        )
    return tuple(values[-1] for values in path)
