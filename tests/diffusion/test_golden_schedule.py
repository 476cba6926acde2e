"""Numbers of the reference implementations; COREKIT_GOLDEN names the folder that holds them.

``pointcloud/`` was made by running luost26/diffusion-point-cloud (its index 0 is padding: its t is
our t + 1), ``ddpm/`` by running openai/improved-diffusion.
"""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import leaky_relu

from corekit.diffusion.predicting import thresholded
from corekit.diffusion.process import Transition, to_prediction, transition
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import cosine_betas, linear_betas
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule

GOLDEN = os.environ.get("COREKIT_GOLDEN")
pytestmark = pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name the folder of reference numbers"
)


@cache
def load(name):
    path = Path(GOLDEN) / name
    if not path.exists():
        pytest.skip(f"COREKIT_GOLDEN holds no {name}")
    with np.load(path) as arrays:
        return dict(arrays)


def neighbours(schedule) -> Transition:
    """Every step t -> t - 1 of a schedule, float64."""
    grid = schedule.at(torch.arange(schedule.steps + 1, dtype=torch.float64) / schedule.steps)
    return transition(grid.map(lambda c: c[1:]), grid.map(lambda c: c[:-1]))


TABLES = [("cosine", cosine_betas, steps) for steps in (10, 20, 100, 1000, 4000)]
TABLES += [("linear", linear_betas, steps) for steps in (100, 1000, 4000)]
# 20 steps of the default end with a beta of 1; the reference then divides by zero
TABLES += [("linear", lambda steps: linear_betas(steps, 0.005, 1.0), 20)]


@pytest.mark.parametrize(("name", "make", "steps"), TABLES)
def test_ddpm_tables(name, make, steps):
    golden = load("ddpm/schedules.npz")
    schedule = DiscreteSchedule(make(steps))
    step = neighbours(schedule)

    def check(key, got, rtol=1e-12):
        np.testing.assert_allclose(np.asarray(got), golden[f"{name}/{steps}/{key}"], rtol=rtol)

    check("betas", schedule.betas)
    check("alphas_cumprod", schedule.alphas_cumprod)
    check("alphas_cumprod_prev", schedule.alphas_cumprod_prev)
    check("posterior_variance", schedule.posterior_variance)
    levels = schedule.at(torch.arange(1, steps + 1, dtype=torch.float64) / steps)
    check("sqrt_alphas_cumprod", levels.alpha)
    check("sqrt_one_minus_alphas_cumprod", levels.sigma)
    # beta as a difference of numbers near 1: the smallest, 2e-5, has 11 digits
    check("betas", step.forward_variance, rtol=1e-9)
    check("posterior_variance", step.variance, rtol=1e-9)
    check("posterior_mean_coef1", step.from_x_0, rtol=1e-9)
    check("posterior_mean_coef2", step.from_x_t, rtol=1e-9)


@pytest.mark.parametrize("key", ["T20_b0.02", "T100_b0.02", "T200_b0.05"])
def test_pointcloud_tables(key):
    golden = load("pointcloud/small_io.npz")
    steps, beta_end = int(key.split("_")[0][1:]), float(key.split("_b")[1])
    schedule = DiscreteSchedule(linear_betas(steps, 1e-4, beta_end))
    step = neighbours(schedule)
    small, large = step.variance.sqrt(), step.forward_variance.sqrt()

    def check(name, got):  # the reference computes its tables in float32
        wanted = golden[f"sched/{key}/{name}"][1:]
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-5, atol=1e-6)

    check("betas", schedule.betas)
    check("alphas", 1 - schedule.betas)
    check("alpha_bars", schedule.alphas_cumprod)
    check("sigmas_flex", large)
    check("sigmas_inflex", small)
    for flexibility in ("0", "0.25", "0.5", "1"):
        f = float(flexibility)
        check(f"sigma_flex{flexibility}", f * large + (1 - f) * small)


@pytest.mark.parametrize("flexibility", [0.0, 0.5, 1.0])
def test_pointcloud_sampling(flexibility):
    golden, state = load("pointcloud/small_io.npz"), load("pointcloud/small_state.npz")
    weights = {k: torch.from_numpy(state[k]) for k in state if "diffusion.net" in k}
    schedule = DiscreteSchedule(linear_betas(20, 1e-4, 0.02))
    z = torch.from_numpy(golden["sample/flow_z"])

    def network(x, beta):
        context = torch.cat([beta, beta.sin(), beta.cos(), z], 1)[:, None]
        y = x
        for i in range(6):
            key = f"diffusion.net.layers.{i}."
            w = {k.removeprefix(key): v for k, v in weights.items() if k.startswith(key)}
            gate = torch.sigmoid(context @ w["_hyper_gate.weight"].T + w["_hyper_gate.bias"])
            y = (y @ w["_layer.weight"].T + w["_layer.bias"]) * gate
            y = y + context @ w["_hyper_bias.weight"].T
            y = leaky_relu(y, 0.01) if i < 5 else y
        return x + y

    def predict(x, level):
        return to_prediction(network(x, level.beta[:, None]), "eps", x, level)

    noise = torch.from_numpy(golden["sample/noise"])
    x = Ancestral(flexibility)(
        predict,
        schedule,
        torch.from_numpy(golden["sample/x_T"]),
        times=schedule.times(20),
        generator=GivenDraws({"noise": [noise[t] for t in range(20, 1, -1)]}),
    )
    wanted = torch.from_numpy(golden[f"sample/flow_flex{flexibility}"])
    torch.testing.assert_close(x, wanted, atol=1e-5, rtol=1e-5)


def analytic(predicts, factor):
    """The network that the golden numbers of ddpm/ were made with."""

    def predict(x, level):
        given = (factor * level.step).float()[:, None, None, None]
        output = 0.9 * torch.tanh(0.7 * x + 0.3 * torch.cos(0.01 * given))
        return to_prediction(output, predicts, x, level)

    return predict


# name -> schedule, factor from the original t to what the network was given
LOOPS = {
    "cos20": (DiscreteSchedule(cosine_betas(20)), 1),
    "lin100_sp10": (DiscreteSchedule(linear_betas(100)).respace(range(0, 100, 11)), 10),
    "lin1000_ddim25": (DiscreteSchedule(linear_betas(1000)).respace(range(0, 1000, 40)), 1),
}


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_ddim_loops_of_improved_diffusion(name, eta):
    golden = load("ddpm/loops_bpd.npz")
    schedule, factor = LOOPS[name]
    x = Ddim(eta)(
        thresholded(analytic("eps", factor), -1, 1),
        schedule,
        torch.from_numpy(golden[f"{name}/init"]),
        times=schedule.times(schedule.steps),
        generator=GivenDraws({"noise": list(torch.from_numpy(golden[f"{name}/noises"]))}),
    )
    wanted = torch.from_numpy(golden[f"{name}/ddim_loop_eta{eta}"])
    torch.testing.assert_close(x, wanted, atol=1e-5, rtol=1e-5)


STEPS = {
    "cos50": (DiscreteSchedule(cosine_betas(50)), 1),
    "lin100r": (DiscreteSchedule(linear_betas(100)), 10),
    "cos1000_ddim25": (DiscreteSchedule(cosine_betas(1000)).respace(range(0, 1000, 40)), 1),
}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("mean", ["EPSILON", "START_X"])
@pytest.mark.parametrize("clip", [0, 1])
@pytest.mark.parametrize(
    ("key", "sampler"),
    [
        ("FIXED_SMALL/clip{}/p_sample", Ancestral()),
        ("FIXED_LARGE/clip{}/p_sample", Ancestral(1.0)),
        ("FIXED_SMALL/clip{}/ddim_eta0.0", Ddim(0.0)),
        ("FIXED_SMALL/clip{}/ddim_eta0.5", Ddim(0.5)),
        ("FIXED_SMALL/clip{}/ddim_eta1.0", Ddim(1.0)),
    ],
)
def test_single_steps_of_improved_diffusion(name, mean, clip, key, sampler):
    golden = load("ddpm/one_step.npz")
    schedule, factor = STEPS[name]
    predict = analytic("eps" if mean == "EPSILON" else "x_0", factor)
    x_t, noise = (torch.from_numpy(golden[k]) for k in ("x_t", "step_noise"))
    wanted = torch.from_numpy(golden[f"{name}/{mean}/{key.format(clip)}"])
    for row, t in enumerate(golden[f"{name}/t"]):
        seen = []
        sampler(
            thresholded(predict, -1, 1) if clip else predict,
            schedule,
            x_t[row : row + 1],
            times=torch.tensor(sorted({t + 1, t, 0}, reverse=True)) / schedule.steps,
            generator=GivenDraws({"noise": noise[row : row + 1]}),
            callback=lambda i, x, prediction, seen=seen: seen.append(x),
        )
        # float32 in the reference is up to 2.4e-5 from its own formula in float64; here 2e-7
        torch.testing.assert_close(seen[0][0], wanted[row], atol=3e-5, rtol=1e-5)
