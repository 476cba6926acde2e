"""Steps, encodings and progress of samplers: the numbers of improved-diffusion."""

import os
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from corekit.diffusion.encoding import encode
from corekit.diffusion.predicting import denoised, thresholded
from corekit.diffusion.process import to_prediction
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import cosine_betas, linear_betas
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule

GOLDEN = os.environ.get("COREKIT_GOLDEN")
pytestmark = pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name the folder of reference numbers"
)

# name -> schedule, factor from the original t to what the network was given
ONE_STEP = {
    "cos50": (DiscreteSchedule(cosine_betas(50)), 1),
    "lin100r": (DiscreteSchedule(linear_betas(100)), 10),
    "cos1000_ddim25": (DiscreteSchedule(cosine_betas(1000)).respace(range(0, 1000, 40)), 1),
}
LOOPS = {
    "cos20": (DiscreteSchedule(cosine_betas(20)), 1),
    "lin100_sp10": (DiscreteSchedule(linear_betas(100)).respace(range(0, 100, 11)), 10),
    "lin1000_ddim25": (DiscreteSchedule(linear_betas(1000)).respace(range(0, 1000, 40)), 1),
}
MEANS = {"EPSILON": "eps", "START_X": "x_0", "PREVIOUS_X": "x_prev"}
VARIANCES = {"LEARNED": "log", "LEARNED_RANGE": "range"}


@cache
def load(name):
    with np.load(Path(GOLDEN) / "ddpm" / name) as arrays:
        return {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays.files}


def analytic(mean, variance, factor, offset=0.0):
    """The network that the golden numbers were made with; learned variances in a second half."""

    def predict(x, level):
        tau = (factor * level.step).float()[:, None, None, None]
        output = 0.9 * torch.tanh(0.7 * x + 0.3 * torch.cos(0.01 * tau))
        said = VARIANCES.get(variance, "fixed")
        if said != "fixed":
            output = torch.cat((output, 0.5 * torch.sin(2 * x + 0.02 * tau) + offset), 1)
        return to_prediction(output, MEANS[mean], x, level, said)

    return predict


@pytest.mark.parametrize("name", ONE_STEP)
@pytest.mark.parametrize("mean", MEANS)
def test_single_steps(name, mean):
    golden, (schedule, factor) = load("one_step.npz"), ONE_STEP[name]
    samplers = {
        "p_sample": None,
        "ddim_eta0.0": Ddim(0.0),
        "ddim_eta0.5": Ddim(0.5),
        "ddim_eta1.0": Ddim(1.0),
    }
    for variance, clip, key in product(
        ("LEARNED", "LEARNED_RANGE", "FIXED_SMALL", "FIXED_LARGE"), (0, 1), samplers
    ):
        if key == "p_sample" and clip and mean == "PREVIOUS_X":
            continue  # the reference clips x_0, and steps with the mean of an x_0 that is not
        sampler = samplers[key] or Ancestral(1.0 if variance == "FIXED_LARGE" else 0.0)
        predict = analytic(mean, variance, factor, -4.0 if variance == "LEARNED" else 0.0)
        at = f"{name}/{mean}/{variance}/clip{clip}/{key}"
        for row, t in enumerate(golden[f"{name}/t"].tolist()):
            seen = []
            sampler(
                thresholded(predict, -1, 1) if clip else predict,
                schedule,
                golden["x_t"][row : row + 1],
                times=torch.tensor(sorted({t + 1, t, 0}, reverse=True)) / schedule.steps,
                generator=GivenDraws({"noise": golden["step_noise"][row : row + 1]}),
                callback=lambda i, x, prediction, seen=seen: seen.append(x),
            )
            wanted = golden[at][row]
            torch.testing.assert_close(seen[0][0], wanted, atol=3e-5, rtol=1e-5, msg=at)


@pytest.mark.parametrize("name", ONE_STEP)
@pytest.mark.parametrize("mean", ["EPSILON", "START_X"])
@pytest.mark.parametrize("clip", [0, 1])
def test_ddim_run_backwards_for_a_step(name, mean, clip):
    golden, (schedule, factor) = load("one_step.npz"), ONE_STEP[name]
    predict = analytic(mean, "FIXED_SMALL", factor)
    for row, t in enumerate(golden[f"{name}/t"].tolist()):
        if t == schedule.steps - 1:
            continue  # the reference goes on to a level without signal, which no table has
        x = encode(
            thresholded(predict, -1, 1) if clip else predict,
            schedule,
            golden["x_t"][row : row + 1],
            times=torch.tensor([t + 2, t + 1, 0]) / schedule.steps,
        )
        wanted = golden[f"{name}/{mean}/FIXED_SMALL/clip{clip}/ddim_reverse"][row]
        torch.testing.assert_close(x[0], wanted, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("name", LOOPS)
def test_encoded_data(name):
    golden, (schedule, factor) = load("loops_bpd.npz"), LOOPS[name]
    predict = thresholded(analytic("EPSILON", "LEARNED_RANGE", factor), -1, 1)
    calls = []

    def counted(x, level):
        calls.append(level.step[0].item())
        return predict(x, level)

    times = schedule.times(schedule.steps)
    x = encode(counted, schedule, golden[f"{name}/x_start"], times=times)
    torch.testing.assert_close(x, golden[f"{name}/ddim_encode"], atol=1e-5, rtol=1e-5)
    assert calls == schedule.original[:-1].tolist()


@pytest.mark.parametrize("name", LOOPS)
def test_progress_is_what_the_callback_sees(name):
    golden, (schedule, factor) = load("loops_bpd.npz"), LOOPS[name]
    seen = []
    Ancestral()(
        thresholded(analytic("EPSILON", "LEARNED_RANGE", factor), -1, 1),
        schedule,
        golden[f"{name}/init"],
        times=schedule.times(schedule.steps),
        generator=GivenDraws({"noise": list(golden[f"{name}/noises"])}),
        callback=lambda done, x, prediction: seen.append((x, prediction.x_0)),
    )
    samples, x_0 = (torch.stack(column) for column in zip(*seen, strict=True))
    torch.testing.assert_close(samples, golden[f"{name}/progressive_sample"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(x_0, golden[f"{name}/progressive_xstart"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ONE_STEP)
def test_a_function_of_the_data_that_are_predicted(name):
    golden, (schedule, factor) = load("one_step.npz"), ONE_STEP[name]
    predict = analytic("EPSILON", "LEARNED_RANGE", factor)
    halved = thresholded(denoised(predict, lambda x_0: x_0 / 2), -1, 1)
    found = halved(golden["x_t"], schedule.level(golden[f"{name}/t"]))
    wanted = golden[f"{name}/denoised_half/pmv_pred_xstart"]
    torch.testing.assert_close(found.x_0, wanted, atol=1e-4, rtol=1e-4)
