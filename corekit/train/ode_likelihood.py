"""The log-likelihood that the probability-flow ODE of a diffusion model gives held-out data."""

import math
from functools import partial
from typing import Any

from corekit.data.loading import fixed_batches
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.ode_likelihood import ode_log_prob
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.model import DensityModel, GenerativeModel
from corekit.nn.ode import Trace
from corekit.train.heldout import nonempty
from corekit.train.likelihood import likelihood_figure
from corekit.train.processes import ALONE, Share

FEW = 16
"""Numbers of an event up to which the divergence is found exactly."""

SOLVER = "rk4"


def ode_figure(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int = 0,
    *,
    steps: int = 50,
    share: Share = ALONE,
) -> dict[str, Any]:
    """Mean log p(x) by the ODE, in nats, with a 95 % interval and the error of the solver.

    That error is the largest difference, over eight examples, to twice as many steps. The
    divergence is exact for events of at most 16 numbers, else estimated.

    Raises:
        UsageError: If it is no diffusion model.
        Stopped: If someone asks to stop before the end.
    """
    density = model.density if isinstance(model, DensityModel) else None
    if not isinstance(density, DiffusionDensity):
        raise UsageError(
            f"evaluate: the likelihood by an ODE must be that of a diffusion model, got "
            f"{type(model).__name__}. Leave out --ode."
        )
    trace: Trace = "exact" if math.prod(model.data.event_shape) <= FEW else "hutchinson"
    score = partial(ode_log_prob, density, solver=SOLVER, trace=trace)
    examples, device = nonempty(dataset, split), next(model.parameters()).device
    rows = range(min(8, len(examples)))
    batch = next(fixed_batches(examples, seed_of(seed, "heldout"), len(rows), rows)).to(device)
    coarse, fine = (
        score(batch.x, batch.condition, steps=n, generator=RowDraws(seed, rows)).value
        for n in (steps, 2 * steps)
    )
    error = (coarse - fine).abs().max().item()
    told = {"solver": SOLVER, "steps": steps, "solver_error": float(f"{error:.2g}"), "trace": trace}
    given = model, dataset, split, seed, share
    return likelihood_figure(
        *given, name="ode_log_prob", score=partial(score, steps=steps), protocol=told
    )
