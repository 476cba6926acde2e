"""Ordinary differential equations by torchdiffeq, with steps as long as may be."""

from collections.abc import Sequence

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.nn.ode import Field


def integrate_adaptively(
    field: Field,
    state: tuple[Tensor, ...],
    *,
    start: float,
    stop: float,
    tolerance: float,
    parameters: Sequence[Tensor] | None = None,
) -> tuple[Tensor, ...]:
    """The state at ``stop`` by torchdiffeq's Dormand-Prince method.

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
