"""Learned variances, losses and bounds: the numbers of improved-diffusion."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.bound_losses import Hybrid, Kl
from corekit_ddpm_improved.losses import Mse

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import (
    Levels,
    log_probability_by_tanh,
    log_probability_of_level,
    normal_kl,
    prior_bound,
    step_bound,
    variational_bound,
)
from corekit.diffusion.predicting import thresholded
from corekit.diffusion.process import mean_of_step, q_sample, to_prediction
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import cosine_betas, linear_betas
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule

PIXELS = DataSpec((3, 4, 4), levels=256, bin_width=2 / 255, lowest=-1.0)
LEVELS = Levels(256, 2 / 255, -1.0)
WEIGHTS = (0.7, 0.3, 0.5, 0.02)
MEANS = {"PREVIOUS_X": "x_prev", "START_X": "x_0", "EPSILON": "eps"}
VARIANCES = {"LEARNED": "log", "LEARNED_RANGE": "range"}
FIXED = {"FIXED_SMALL": "small", "FIXED_LARGE": "large"}


def evenly(T, counts):
    """Steps of equal sections, as the reference spaces them."""
    kept, start = [], 0
    for i, count in enumerate(counts):
        size = T // len(counts) + (i < T % len(counts))
        stride = (size - 1) / (count - 1) if count > 1 else 1
        kept += [start + round(j * stride) for j in range(count)]
        start += size
    return kept


# betas, kept steps, factor of the integer t that the network is told
PROCESSES = {
    "cos50": (cosine_betas(50), None, 1.0),
    "cos20": (cosine_betas(20), None, 1.0),
    "lin100r": (linear_betas(100), None, 10.0),
    "lin100_sp": (linear_betas(100), evenly(100, (10, 5)), 10.0),
    "lin100_sp10": (linear_betas(100), evenly(100, (10,)), 10.0),
    "cos1000_ddim25": (cosine_betas(1000), list(range(0, 1000, 40)), 1.0),
    "lin1000_ddim25": (linear_betas(1000), list(range(0, 1000, 40)), 1.0),
}


@cache
def process(name):
    betas, kept, factor = PROCESSES[name]
    schedule = DiscreteSchedule(betas)
    return (schedule if kept is None else schedule.respace(kept)), factor


def network(name, w, variance, offset=0.0):
    """The analytic network of the golden numbers."""
    _, factor = process(name)

    def output(x, level):
        tau = (factor * level.step.to(x.dtype)).reshape(-1, 1, 1, 1)
        mean = 0.9 * torch.tanh(w[0] * x + w[1] * torch.cos(0.01 * tau))
        if variance not in VARIANCES:
            return mean
        return torch.cat((mean, w[2] * torch.sin(2 * x + w[3] * tau) + offset), dim=1)

    return output


def predicting(name, w, mean, variance, offset=0.0):
    raw, said = network(name, w, variance, offset), VARIANCES.get(variance, "fixed")
    return lambda x, level: to_prediction(raw(x, level), MEANS[mean], x, level, said)


@pytest.fixture(scope="module")
def load(golden):
    @cache
    def loaded(name):
        with np.load(golden / f"{name}.npz") as archive:
            return {k: torch.from_numpy(np.array(archive[k])) for k in archive.files}

    return loaded


def loss_of(kind, mean, variance):
    if "KL" in kind:
        fixed = FIXED.get(variance, "small")
        return Kl(rescale=kind == "RESCALED_KL", variance=fixed)
    if variance not in VARIANCES:
        return Mse(MEANS[mean])
    rescale = kind == "RESCALED_MSE"
    return Hybrid(MEANS[mean], vlb_weight=0.001 if rescale else 1.0, rescale=rescale)


KINDS = ("MSE", "RESCALED_MSE", "KL", "RESCALED_KL")
LOSSES = ("cos50", "lin100r", "lin100_sp", "cos1000_ddim25")


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_training_losses_and_their_gradients(load, name, kind):
    arrays, (schedule, _) = load("training_losses"), process(name)
    x_0, eps, t = arrays["x_start"], arrays["noise"], arrays[f"{name}/t"]
    level = schedule.level(t)
    x_t = q_sample(x_0, eps, level)
    for mean, variance in product(MEANS, (*VARIANCES, *FIXED)):
        key = f"{name}/{mean}/{variance}/{kind}"
        w = torch.tensor(WEIGHTS, requires_grad=True)
        loss = loss_of(kind, mean, variance)
        loss.approximate = True
        loss.prepare(schedule, PIXELS)
        offset = -4.0 if variance == "LEARNED" else 0.0
        found = loss(predicting(name, w, mean, variance, offset)(x_t, level), x_0, x_t, eps, level)
        torch.testing.assert_close(found, arrays[f"{key}/loss"], rtol=2e-4, atol=2e-5, msg=key)
        found.sum().backward()
        wanted = arrays[f"{key}/grad"].float()
        rounding = 2e-3 * wanted.abs().max().item()
        torch.testing.assert_close(w.grad, wanted, rtol=2e-3, atol=rounding, msg=key)


@pytest.mark.parametrize("name", LOSSES)
def test_means_variances_and_terms_of_one_step(load, name):
    arrays, (schedule, _) = load("one_step"), process(name)
    x_t, x_0, t = arrays["x_t"], arrays["x_start"], arrays[f"{name}/t"]
    level = schedule.level(t)
    mean = mean_of_step(x_0, x_t, level.reverse)
    torch.testing.assert_close(mean, arrays[f"{name}/qpost_mean"], rtol=1e-5, atol=1e-5)
    found = level.reverse.log_small
    wanted = arrays[f"{name}/qpost_log_variance"].flatten(1)[:, 0]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    prior = prior_bound(x_0, schedule)
    torch.testing.assert_close(prior, arrays[f"{name}/prior_bpd"], rtol=1e-3, atol=1e-6)
    for how, variance, clip in product(MEANS, (*VARIANCES, *FIXED), (0, 1)):
        key = f"{name}/{how}/{variance}/clip{clip}"
        offset = -4.0 if variance == "LEARNED" else 0.0
        predict = predicting(name, WEIGHTS, how, variance, offset)
        clipped = thresholded(predict, -1.0, 1.0) if clip else predict
        told = clipped(x_t, level)
        torch.testing.assert_close(told.x_0, arrays[f"{key}/pmv_pred_xstart"], rtol=1e-3, atol=1e-3)
        if clip and how == "PREVIOUS_X":
            continue  # the reference clips x_0, and goes on with the mean of an x_0 that is not
        torch.testing.assert_close(
            mean_of_step(told.x_0, x_t, level.reverse),
            arrays[f"{key}/pmv_mean"],
            rtol=1e-4,
            atol=1e-4,
        )
        if told.log_variance is not None:
            torch.testing.assert_close(
                told.log_variance, arrays[f"{key}/pmv_log_variance"], rtol=1e-5, atol=1e-5
            )
        noised = q_sample(x_0, arrays["noise"], level)
        told, fixed = clipped(noised, level), FIXED.get(variance, "small")
        term = step_bound(told, x_0, noised, level, LEVELS, fixed, approximate=True)
        torch.testing.assert_close(term, arrays[f"{key}/vb"], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["cos20", "lin100_sp10", "lin1000_ddim25"])
def test_loops_and_bits_per_dimension(load, name):
    arrays, (schedule, _) = load("loops_bpd"), process(name)
    key = next(k.split("/")[0] for k in arrays if k.startswith(name))
    noises, start = arrays[f"{key}/noises"], arrays[f"{key}/init"]
    times = schedule.times(schedule.steps)
    predict = predicting(name, WEIGHTS, "EPSILON", "LEARNED_RANGE")
    clipped = thresholded(predict, -1.0, 1.0)

    def sampled(sampler, how):
        given = GivenDraws({"noise": list(noises)})
        return sampler(how, schedule, start, times=times, generator=given)

    for sampler, how, wanted in (
        (Ancestral(), clipped, "p_sample_loop"),
        (Ancestral(), predict, "p_sample_loop_noclip"),
        (Ddim(eta=0.0), clipped, "ddim_loop_eta0.0"),
        (Ddim(eta=0.7), clipped, "ddim_loop_eta0.7"),
    ):
        found = sampled(sampler, how)
        torch.testing.assert_close(
            found, arrays[f"{key}/{wanted}"], rtol=1e-4, atol=1e-4, msg=wanted
        )
    x_0 = arrays.get("x_start", arrays.get(f"{key}/x_start"))
    for mean, variance, clip in product(("EPSILON", "START_X"), (*VARIANCES, *FIXED), (0, 1)):
        at = f"{key}/bpd/{mean}/{variance}/clip{clip}"
        if f"{at}/vb" not in arrays:
            continue
        told = predicting(name, WEIGHTS, mean, variance)
        bound = variational_bound(
            thresholded(told, -1.0, 1.0) if clip else told,
            schedule,
            x_0,
            PIXELS,
            variance=FIXED.get(variance, "small"),
            approximate=True,
            generator=GivenDraws({"eps": list(noises)}),
        )
        for ours, theirs in (("steps", "vb"), ("x_0_error", "xstart_mse"), ("eps_error", "mse")):
            wanted = arrays[f"{at}/{theirs}"].flip(1)
            torch.testing.assert_close(getattr(bound, ours), wanted, rtol=1e-3, atol=1e-4, msg=at)
        torch.testing.assert_close(bound.total, arrays[f"{at}/total_bpd"], rtol=1e-4, atol=1e-4)


def test_probabilities_of_levels(load):
    arrays = load("likelihood")
    x, means, log_scales = (arrays[f"dg/{k}"].double() for k in ("x", "means", "log_scales"))
    near = log_probability_by_tanh(x, means, log_scales, LEVELS)
    level = (x.abs() < 0.995) | (x.abs() > 0.9995)  # what lies between is no level of pixels
    torch.testing.assert_close(
        near[level], arrays["dg/ll_f64"].double()[level], rtol=1e-9, atol=1e-9
    )
    exact = log_probability_of_level(x, means, log_scales, LEVELS)
    likely = level & (near > -5)
    torch.testing.assert_close(exact[likely], near[likely], rtol=0, atol=0.15)
    kl = [arrays[f"kl/{k}"].double() for k in ("m1", "lv1", "m2", "lv2")]
    torch.testing.assert_close(normal_kl(*kl), arrays["kl/out_f64"].double())
