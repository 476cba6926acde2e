"""Solvers on the exact score of a mixture of two Gaussians, against the errors of diffusers 0.42.1.

The starts are 64 quantiles of N(0, 1) at the noisiest level; ``exact`` is the end of the
probability-flow ODE, solved to 1e-12. Errors are root mean squares over the starts.
"""

import json
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from corekit.diffusion.dpm_solver import DpmSolver
from corekit.diffusion.karras import Euler, Heun
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import cosine_betas, linear_betas
from corekit.diffusion.unipc import UniPc
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction

GOLDEN = os.environ.get("COREKIT_GOLDEN")
pytestmark = pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name the folder of reference numbers"
)

SCHEDULES = {
    "linear": DiscreteSchedule(linear_betas(1000)),
    "squaredcos_cap_v2": DiscreteSchedule(cosine_betas(1000)),
}
STEPS = (10, 20, 50)
# ours -> the same solver of diffusers. Its trailing timesteps are our even grid.
SAME = {
    "ddim": (Ddim(), "ddim_trailing"),
    "first order": (DpmSolver(order=1, grid="even"), "ddim_trailing"),
    "2M": (DpmSolver(grid="even"), "dpmpp_2m"),
    "unipc": (UniPc(grid="even"), "unipc_2"),
    "unipc, default grid": (UniPc(), "unipc_2"),
    "euler": (Euler(), "euler_karras"),
    # Its own linear run had diffusers' default betas, 0.00085 ... 0.012, and a sigma_max of 25.
    "heun": (Heun(), "heun_karras"),
}


@cache
def golden():
    folder = Path(GOLDEN) / "ddpm"
    with np.load(folder / "diffusers_solvers.npz") as arrays:
        numbers = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}
    rows = json.loads((folder / "diffusers_solvers_errors.json").read_text())
    return numbers, {(name, solver, steps): row for name, solver, steps, *row in rows}


def mixture(x, level):
    """E[x_0 | x_t] and E[eps | x_t] of the mixture, x ``(B,)``."""
    weights, means, stds = (golden()[0][k].double() for k in ("weights", "means", "stds"))
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    spread, away = alpha**2 * stds**2 + sigma**2, x[:, None] - alpha * means
    share = torch.softmax(weights.log() - 0.5 * spread.log() - 0.5 * away**2 / spread, 1)
    x_0 = (share * (means + alpha * stds**2 * away / spread)).sum(1)
    return Prediction(x_0, (share * sigma * away / spread).sum(1))


def error(sampler, name, steps):
    """Root mean square, and how often the network was called."""
    calls = []

    def counted(x, level):
        calls.append(level)
        return mixture(x, level)

    schedule, numbers = SCHEDULES[name], golden()[0]
    x_T, exact = numbers["z"].double(), numbers[f"{name}/dpmpp_2m/10/exact"]
    x = sampler(counted, schedule, x_T, times=sampler.times(schedule, steps))
    return (x - exact).square().mean().sqrt().item(), len(calls)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("solver", SAME)
def test_no_less_accurate_than_the_same_solver_of_diffusers(name, solver):
    sampler, theirs = SAME[solver]
    for steps in STEPS:
        calls_allowed, wanted = golden()[1][name, theirs, steps]
        found, calls = error(sampler, name, steps)
        assert calls <= calls_allowed
        assert found <= 1.05 * wanted, f"{steps} steps"


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_default_grid_reaches_the_wanted_errors(name):
    found = [error(DpmSolver(), name, steps)[0] for steps in STEPS]
    assert all(got <= most for got, most in zip(found, (0.060, 0.013, 0.0016), strict=True)), found


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("grid", ["arctan", "even", "karras", "log_snr"])
@pytest.mark.parametrize(
    "make", [DpmSolver, UniPc, Heun, Euler, lambda grid: DpmSolver(grid=grid, multistep=False)]
)
def test_no_solver_diverges_on_any_grid(name, grid, make):
    errors = [error(make(grid=grid), name, steps)[0] for steps in (5, 10, 50, 200)]
    assert errors[0] < 0.45  # the data have a spread of 1
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.025
