"""Samplers against the Gaussian oracle: orders, variances, and what they promise to leave alone."""

import math

import numpy as np
import pytest
import torch

from corekit.diffusion.dpm_solver import DpmSolver
from corekit.diffusion.karras import Heun
from corekit.diffusion.process import q_posterior_mean_variance
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws, RowDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction
from corekit.testing.oracle import GaussianOracle, Trigonometric

MEAN = torch.tensor([0.3, -1.0], dtype=torch.float64)
VARIANCES = torch.tensor([0.25, 2.0], dtype=torch.float64)
ORACLE = GaussianOracle(MEAN, VARIANCES)
SCHEDULES = {
    "cosine": DiscreteSchedule(cosine_betas(4096)),
    "zero_snr": DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(4096))),
    "trigonometric": Trigonometric(),
    "rectified": Rectified(),
}
SAMPLERS = [Ancestral(), Ancestral(0.5), Ancestral(1.0), Ddim(), Ddim(0.5), Ddim(1.0)]


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def end(schedule, time):
    return schedule.at(torch.tensor([time], dtype=torch.float64))


def affine(sampler, schedule, steps):
    """Mean and variance of the samples, exactly: for Gaussian data a sampler is an affine map.

    Row 0 has no noise; row i has one unit of noise at step i, the last row a unit in x_T.
    """
    rows = steps + 1
    noise = torch.zeros(steps - 1, rows, 2, dtype=torch.float64)
    noise[torch.arange(steps - 1), torch.arange(steps - 1) + 1] = 1.0
    x_T = torch.zeros(rows, 2, dtype=torch.float64)
    x_T[-1] = 1.0
    draws = GivenDraws({"noise": list(noise)})
    x = sampler(ORACLE.predict, schedule, x_T, times=schedule.times(steps), generator=draws)
    return x[0], (x[1:] - x[0]).square().sum(0)


def slope(steps, errors):
    """The order: minus the slope of log error over log steps."""
    return -np.polyfit(np.log(steps), np.log(np.asarray(errors)), 1)[0]


@pytest.mark.parametrize("name", SCHEDULES)
def test_ddim_converges_to_the_probability_flow_as_it_claims(name):
    schedule, x_T = SCHEDULES[name], normal(5, 2)
    exact = ORACLE.flow(x_T, end(schedule, 1.0), end(schedule, 0.0))
    steps, errors = [64, 128, 256, 512, 1024], []
    for n in steps:
        x = Ddim()(ORACLE.predict, schedule, x_T, times=schedule.times(n))
        errors.append((x - exact).square().mean().sqrt().item())
    assert slope(steps, errors) == pytest.approx(Ddim.order, abs=0.1)
    assert errors[-1] < 5e-3


@pytest.mark.parametrize("name", ["cosine", "trigonometric", "rectified"])
@pytest.mark.parametrize("flexibility", [0.0, 1.0])
def test_ancestral_marginals_converge_as_it_claims(name, flexibility):
    schedule, sampler = SCHEDULES[name], Ancestral(flexibility)
    steps, errors = [32, 64, 128, 256], []
    for n in steps:
        mean, variance = affine(sampler, schedule, n)
        torch.testing.assert_close(mean, MEAN, atol=1e-8, rtol=0)
        errors.append((variance - VARIANCES).abs().mean().item())
    assert slope(steps, errors) == pytest.approx(Ancestral.order, abs=0.15)
    assert errors[-1] < 0.05


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samples_have_the_mean_and_variance_of_the_data(name, sampler):
    mean, variance = affine(sampler, SCHEDULES[name], 256)
    torch.testing.assert_close(mean, MEAN, atol=1e-4, rtol=0)
    torch.testing.assert_close(variance, VARIANCES, atol=0, rtol=0.06)


def test_flexibility_one_is_exact_for_unit_variance_and_zero_for_none():
    """Ho et al., section 3.2: the two variances are right for the two extremes of data."""
    schedule, unit = DiscreteSchedule(linear_betas(50)), torch.ones(2, dtype=torch.float64)
    for flexibility, variances in ((1.0, unit), (0.0, 0 * unit)):
        oracle = GaussianOracle(MEAN, variances)
        inside = []

        def keep(i, x, prediction, inside=inside):
            inside.append((x[1:] - x[0]).square().sum(0))

        noise = torch.zeros(49, 51, 2, dtype=torch.float64)
        noise[torch.arange(49), torch.arange(49) + 1] = 1.0
        x_T = torch.zeros(51, 2, dtype=torch.float64)
        x_T[-1] = 1.0
        Ancestral(flexibility)(
            oracle.predict,
            schedule,
            x_T,
            times=schedule.times(50),
            generator=GivenDraws({"noise": list(noise)}),
            callback=keep,
        )
        for got, t in zip(inside[:-1], range(48, -1, -1), strict=True):
            product = schedule.alphas_cumprod[t]
            wanted = product * variances + (1 - product)
            torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)


def one_step(sampler, schedule, t, s, x_t, x_0, noise):
    """x_s after one step from t to s, of a network that always says x_0."""

    def predict(x, level):
        return Prediction(x_0, (x - level.alpha[:, None] * x_0) / level.sigma[:, None])

    seen = []
    sampler(
        predict,
        schedule,
        x_t,
        times=torch.tensor([t, s, 0.0], dtype=torch.float64),
        generator=GivenDraws({"noise": noise}),
        callback=lambda i, x, prediction: seen.append(x),
    )
    return seen[0]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("t", "s"), [(1.0, 0.5), (0.5, 0.25), (0.125, 0.0625)])
@pytest.mark.parametrize(
    ("sampler", "share"), [(Ancestral(), 1.0), (Ddim(1.0), 1.0), (Ddim(0.5), 0.5), (Ddim(), 0.0)]
)
def test_a_step_draws_from_the_posterior(name, t, s, sampler, share):
    schedule = SCHEDULES[name]
    x_t, x_0, one = normal(3, 2), normal(3, 2, seed=1), torch.ones(3, 2, dtype=torch.float64)
    still = one_step(sampler, schedule, t, s, x_t, x_0, 0 * one)
    moved = one_step(sampler, schedule, t, s, x_t, x_0, one)
    at_t, at_s = end(schedule, t), end(schedule, s)
    mean, variance = q_posterior_mean_variance(x_0, x_t, at_t, at_s)
    std = share * variance.sqrt()
    torch.testing.assert_close(moved - still, std.expand(3, 2), atol=1e-12, rtol=1e-9)
    if share == 1.0:
        torch.testing.assert_close(still, mean)
    eps = (x_t - at_t.alpha * x_0) / at_t.sigma  # Song et al., eq. 12
    wanted = at_s.alpha * x_0 + (at_s.sigma**2 - std**2).sqrt() * eps
    torch.testing.assert_close(still, wanted)


@pytest.mark.parametrize("flexibility", [0.0, 0.25, 0.5, 1.0])
def test_flexibility_is_linear_in_the_standard_deviation(flexibility):
    schedule = DiscreteSchedule(linear_betas(100))
    x, one = normal(1, 2), torch.ones(1, 2, dtype=torch.float64)
    for t in (99, 40, 1):
        at = ((t + 1) / 100, t / 100)
        steps = [
            one_step(Ancestral(flexibility), schedule, *at, x, x, amount * one)
            for amount in (0.0, 1.0)
        ]
        small, large = math.sqrt(schedule.posterior_variance[t]), math.sqrt(schedule.betas[t])
        wanted = flexibility * large + (1 - flexibility) * small
        torch.testing.assert_close(steps[1] - steps[0], wanted * one)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ddim_with_eta_one_is_ancestral_to_the_bit(name, dtype):
    schedule, oracle = SCHEDULES[name], GaussianOracle(MEAN.to(dtype), VARIANCES.to(dtype))
    x_T, times = normal(3, 2, dtype=dtype), SCHEDULES[name].times(20)
    results = [
        sampler(
            oracle.predict, schedule, x_T, times=times, generator=torch.Generator().manual_seed(1)
        )
        for sampler in (Ancestral(), Ddim(eta=1.0))
    ]
    assert torch.equal(*results)


@pytest.mark.parametrize("sampler", [Ancestral(), Ancestral(0.5), Ddim()])
def test_fewer_times_are_a_respaced_schedule(sampler):
    schedule = DiscreteSchedule(cosine_betas(60))
    respaced = schedule.respace([4, 9, 14, 19, 24, 29, 34, 39, 44, 49, 54, 59])
    x_T, steps, results = normal(3, 2), [], []
    for used in (schedule, respaced):

        def predict(x, level):
            steps.append(level.step[0].item())
            return ORACLE.predict(x, level)

        generator = torch.Generator().manual_seed(0)
        results.append(sampler(predict, used, x_T, times=used.times(12), generator=generator))
    torch.testing.assert_close(*results)
    assert steps[:12] == steps[12:] == list(range(59, 0, -5))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_zero_terminal_snr_ignores_what_x_T_holds_of_the_mean(sampler):
    """With alpha_T = 0 the first prediction is the mean of the data, whatever x_T is."""
    schedule, seen = SCHEDULES["zero_snr"], []
    x = sampler(
        ORACLE.predict,
        schedule,
        normal(3, 2),
        times=schedule.times(16),
        generator=torch.Generator().manual_seed(0),
        callback=lambda i, x, prediction: seen.append(prediction.x_0),
    )
    torch.testing.assert_close(seen[0], MEAN.expand(3, 2))
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("sampler", [Ancestral(), Ddim(), DpmSolver(grid="even"), Heun()])
def test_a_level_knows_the_step_that_is_taken_from_it(sampler):
    """Not that to its neighbour: x_prev and ranges of variances are of the step."""
    schedule, seen = DiscreteSchedule(cosine_betas(60)), {}
    respaced = schedule.respace(range(4, 60, 5))

    def predict(x, level):
        seen[level.step[0].item()] = level.reverse
        return ORACLE.predict(x, level)

    sampler(predict, schedule, normal(3, 2), times=schedule.times(12))
    wanted = respaced.level(torch.arange(12)).reverse
    for t in range(12):
        got = [column[0] for column in seen[5 * t + 4]]
        for value, column in zip(got, wanted, strict=True):
            torch.testing.assert_close(value, column[t].double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("event", [(), (3,), (5, 2), (1, 3, 4)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_shape_and_dtype_are_those_of_x_T_which_stays(sampler, event, dtype):
    schedule, levels = DiscreteSchedule(linear_betas(30)), []

    def predict(x, level):
        levels.append(level)
        alpha, sigma = (v.to(x.dtype).reshape(-1, *(1,) * len(event)) for v in level[1:3])
        return Prediction(alpha * x, sigma * x)

    x_T = normal(3, *event, dtype=dtype)
    before = x_T.clone()
    x = sampler(predict, schedule, x_T, times=schedule.times(7))
    assert torch.equal(x_T, before)
    assert (x.shape, x.dtype) == (x_T.shape, dtype)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for level in levels:
        assert all(v.shape == (3,) for v in (*level[:-1], *level.reverse))
        assert {level.alpha.dtype, level.time.dtype, level.beta.dtype} == {wide}
        assert level.step.dtype == torch.int64
    assert [level.step[0].item() for level in levels] == [29, 25, 20, 16, 12, 8, 3]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_row_i_is_the_same_in_any_batch(sampler):
    schedule = DiscreteSchedule(linear_betas(30))

    def sample(rows):
        draws = RowDraws(seed=5, rows=rows)
        x_T = draws.normal("x_T", (len(rows), 2), MEAN)
        times = schedule.times(10)
        return sampler(ORACLE.predict, schedule, x_T, times=times, generator=draws)

    whole = sample(range(7))
    assert torch.equal(sample(range(3)), whole[:3])
    assert torch.equal(sample([6, 2]), whole[[6, 2]])


def test_given_noise_gives_the_same_samples_and_none_is_left():
    schedule, x_T = DiscreteSchedule(linear_betas(30)), normal(3, 2)
    noise = [normal(3, 2, seed=i) for i in range(9)]
    results = []
    for _ in range(2):
        draws = GivenDraws({"noise": noise})
        times = schedule.times(10)
        results.append(Ancestral()(ORACLE.predict, schedule, x_T, times=times, generator=draws))
        assert draws.given == {"noise": []}
    assert torch.equal(*results)


def test_a_deterministic_sampler_draws_nothing():
    schedule = Rectified()
    times, nothing = schedule.times(5), GivenDraws({})
    Ddim()(ORACLE.predict, schedule, normal(3, 2), times=times, generator=nothing)
    Ancestral()(ORACLE.predict, schedule, normal(3, 2), times=schedule.times(1), generator=nothing)


def test_callback_sees_every_step():
    schedule, seen = Rectified(), []
    x = Ddim()(
        ORACLE.predict,
        schedule,
        normal(3, 2),
        times=schedule.times(4),
        callback=lambda i, x, prediction: seen.append((i, x, prediction)),
    )
    assert [i for i, _, _ in seen] == [1, 2, 3, 4]
    assert seen[-1][1] is x
    assert torch.equal(seen[-1][2].x_0, x)  # the last step returns the clean data


def test_no_graph_is_kept():
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)

    def predict(x, level):
        prediction = ORACLE.predict(x, level)
        return Prediction(weight * prediction.x_0, prediction.eps)

    assert not Ddim()(predict, Rectified(), normal(1, 2), times=Rectified().times(3)).requires_grad


@pytest.mark.parametrize(
    "times", [[1.0], [0.0, 1.0], [1.0, 0.5], [1.0, 0.5, 0.5, 0.0], [[1.0, 0.0]], [1.5, 0.0]]
)
def test_times_must_run_down_to_data(times):
    with pytest.raises(UsageError, match="times must decrease from at most 1 to 0"):
        Ddim()(ORACLE.predict, Rectified(), normal(1, 2), times=torch.tensor(times))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Ancestral(1.5), r"Ancestral: flexibility must lie in \[0, 1\], got 1.5"),
        (lambda: Ddim(-0.1), r"Ddim: eta must lie in \[0, 1\], got -0.1"),
        (lambda: Ddim(steps=0), "Ddim: steps must be at least 1 or None, got 0"),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(UsageError, match=match):
        make()


@pytest.mark.gpu
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_no_step_waits_for_the_accelerator(sampler):
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    schedule = DiscreteSchedule(linear_betas(30))
    generator = torch.Generator("cuda").manual_seed(0)

    def predict(x, level):
        return Prediction(level.alpha[:, None] * x, level.sigma[:, None] * x)

    x_T = torch.randn(64, 2, device="cuda", generator=generator)
    waits = []

    def watch(i, x, prediction):
        if i == 1:  # from the second step on, any wait is an error
            torch.cuda.set_sync_debug_mode("error")
        waits.append(i)

    try:
        x = sampler(
            predict, schedule, x_T, times=schedule.times(9), generator=generator, callback=watch
        )
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) == 9
    assert x.is_cuda
