"""Tables of betas, discrete schedules, rectified flow, and the warning about short ones."""

import math
import pickle

import numpy as np
import pytest
import torch

from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
    warn_if_short_of_noise,
)
from corekit.diffusion.timesteps import Uniform
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws, GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.testing.oracle import Trigonometric


def test_linear_betas_are_equal_steps():
    np.testing.assert_allclose(linear_betas(4, 0.1, 0.4), [0.1, 0.2, 0.3, 0.4])
    assert linear_betas(4, 0.1, 0.4).dtype == np.float64


def test_default_linear_betas_scale_with_the_steps():
    np.testing.assert_array_equal(linear_betas(1000)[[0, -1]], [1e-4, 0.02])
    np.testing.assert_allclose(linear_betas(250)[[0, -1]], [4e-4, 0.08])
    np.testing.assert_array_equal(linear_betas(250, 1e-4, 0.02)[[0, -1]], [1e-4, 0.02])


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((100, 1e-4), "given together or not at all, got beta_start=0.0001, beta_end=None"),
        ((100, None, 0.02), "given together or not at all, got beta_start=None"),
        ((20,), "at least 21 steps, got 20"),
    ],
)
def test_linear_betas_refuse(arguments, match):
    with pytest.raises(UsageError, match=match):
        linear_betas(*arguments)


def test_cosine_betas_follow_their_formula():
    steps, s = 50, 0.008
    products = 1.0
    for t, beta in enumerate(cosine_betas(steps, s)):
        products *= 1 - beta
        angle = ((t + 1) / steps + s) / (1 + s) * math.pi / 2
        first = math.cos(s / (1 + s) * math.pi / 2) ** 2
        if t < steps - 1:
            assert products == pytest.approx(math.cos(angle) ** 2 / first, rel=1e-10)
    assert cosine_betas(steps)[-1] == 0.999


def test_zero_terminal_snr_keeps_the_first_level_and_empties_the_last():
    betas = linear_betas(100)
    rescaled = DiscreteSchedule(rescale_zero_terminal_snr(betas))
    roots = np.sqrt(np.cumprod(1 - betas))
    wanted = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    np.testing.assert_allclose(np.sqrt(rescaled.alphas_cumprod), wanted, rtol=1e-12)
    assert rescaled.betas[-1] == 1
    assert rescaled.alphas_cumprod[-1] == 0
    assert rescaled.alphas_cumprod[0] == pytest.approx(1 - betas[0], rel=1e-14)
    again = rescale_zero_terminal_snr(rescaled.betas)
    np.testing.assert_allclose(again, rescaled.betas, rtol=1e-9)
    with pytest.raises(UsageError, match="at least two numbers, got 1"):
        rescale_zero_terminal_snr(np.array([0.5]))


def test_levels_are_products_of_the_betas():
    betas = [0.1, 0.2, 0.5]
    schedule = DiscreteSchedule(betas)
    level = schedule.level(torch.tensor([2, 0]))
    torch.testing.assert_close(level.alpha, torch.tensor([0.9 * 0.8 * 0.5, 0.9]).sqrt())
    torch.testing.assert_close(level.sigma, torch.tensor([1 - 0.9 * 0.8 * 0.5, 0.1]).sqrt())
    torch.testing.assert_close(level.log_snr[1], torch.tensor(9.0).log())
    torch.testing.assert_close(level.beta, torch.tensor([0.5, 0.1]))
    assert level.step.tolist() == [2, 0]
    torch.testing.assert_close(level.time, torch.tensor([1, 1 / 3]))
    clean = schedule.at(torch.zeros(1, dtype=torch.float64))
    assert (clean.alpha.item(), clean.sigma.item()) == (1, 0)
    assert clean.alpha.dtype == torch.float64
    np.testing.assert_allclose(schedule.alphas_cumprod_prev, [1, 0.9, 0.72])


@pytest.mark.parametrize("betas", [[], [[0.1]], [0.1, 1.0, 0.1], [-0.1], [0.5, 1.5], [0.0, 0.1]])
def test_impossible_betas_are_refused(betas):
    with pytest.raises(UsageError, match="betas must"):
        DiscreteSchedule(betas)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_respacing_keeps_the_noise_levels_and_the_original_t(zero_snr):
    betas = linear_betas(100)
    full = DiscreteSchedule(rescale_zero_terminal_snr(betas) if zero_snr else betas)
    kept = [0, 7, 30, 99]
    short = full.respace(kept)
    np.testing.assert_allclose(short.alphas_cumprod, full.alphas_cumprod[kept], rtol=1e-12)
    level = short.level(torch.arange(4))
    assert level.step.tolist() == kept
    assert short.respace([1, 3]).original.tolist() == [7, 99]
    products = np.cumprod(1 - full.betas)
    np.testing.assert_allclose(short.betas[2], 1 - products[30] / products[7], rtol=1e-12)
    with pytest.raises(UsageError, match=r"0 \.\.\. 99, got \[100\]"):
        full.respace([100])


@pytest.mark.parametrize("steps", [1, 7, 50, 100])
def test_times_start_at_the_noisiest_level_and_end_at_data(steps):
    schedule = DiscreteSchedule(linear_betas(100))
    times = schedule.times(steps)
    assert times.shape == (steps + 1,)
    assert (times[0], times[-1]) == (1, 0)
    assert (times.diff() < 0).all()
    torch.testing.assert_close(times * 100, (times * 100).round())
    with pytest.raises(UsageError, match=r"1 \.\.\. 100, got 101"):
        schedule.times(101)


@pytest.mark.parametrize(
    "schedule", [DiscreteSchedule(cosine_betas(200)), Rectified(), Trigonometric()]
)
def test_time_of_undoes_log_snr(schedule):
    time = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    level = schedule.at(time)
    torch.testing.assert_close(level.log_snr, 2 * (level.alpha / level.sigma).log())
    torch.testing.assert_close(schedule.time_of(level.log_snr), time)


def test_rectified_is_a_straight_line():
    level = Rectified().at(torch.tensor([0.0, 0.25, 1.0]))
    assert level.alpha.tolist() == [1, 0.75, 0]
    assert level.sigma.tolist() == [0, 0.25, 1]
    assert (level.dsigma - level.dalpha).tolist() == [2, 2, 2]
    assert level.step is None


def test_a_schedule_short_of_noise_is_warned_about():
    with pytest.warns(UserWarning, match=r"got 0\.3636.*0\.226 nats per unit-variance dimension"):
        warn_if_short_of_noise(DiscreteSchedule(linear_betas(100, 1e-4, 0.02)))


@pytest.mark.parametrize(
    "schedule",
    [
        DiscreteSchedule(linear_betas(200, 1e-4, 0.05)),
        DiscreteSchedule(linear_betas(50)),
        DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(100, 1e-4, 0.02))),
        Rectified(),
        Trigonometric(),
    ],
)
def test_a_schedule_that_reaches_noise_is_not(schedule):
    warn_if_short_of_noise(schedule)


def test_tables_made_in_inference_mode_or_on_meta_serve_training():
    schedule = DiscreteSchedule(linear_betas(50))
    with torch.inference_mode():
        schedule.level(torch.tensor([3]))
    x = torch.ones(1, requires_grad=True)
    (schedule.level(torch.tensor([3])).alpha * x).sum().backward()
    assert x.grad > 0
    with torch.device("meta"):
        fresh = DiscreteSchedule(linear_betas(50)).at(torch.ones(1, device="cpu"))
    assert fresh.alpha.device.type == "cpu"


def test_a_schedule_survives_pickling():
    schedule = DiscreteSchedule(linear_betas(50))
    schedule.level(torch.tensor([3]))
    again = pickle.loads(pickle.dumps(schedule))
    torch.testing.assert_close(again.level(torch.tensor([3])), schedule.level(torch.tensor([3])))


def test_uniform_draws_every_step_of_a_discrete_schedule():
    schedule = DiscreteSchedule(cosine_betas(20))
    draws = Draws(torch.Generator().manual_seed(0))
    level, weight = Uniform().sample(4000, schedule, draws, torch.device("cpu"))
    counts = torch.bincount(level.step, minlength=20)
    assert weight is None
    assert len(counts) == 20
    assert counts.min() > 140  # 200 expected, standard deviation 14
    given = GivenDraws({"t": torch.tensor([3, 19])})
    level, _ = Uniform().sample(2, schedule, given, torch.device("cpu"))
    assert level.step.tolist() == [3, 19]
    torch.testing.assert_close(
        level.alpha**2, torch.tensor(schedule.alphas_cumprod[[3, 19]]).float()
    )


def test_uniform_draws_times_above_zero_of_a_continuous_schedule():
    given = GivenDraws({"t": torch.tensor([0.0, 0.75])})
    level, weight = Uniform().sample(2, Rectified(), given, torch.device("cpu"))
    assert level.time.tolist() == [1, 0.25]
    assert weight is None
