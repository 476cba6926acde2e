"""Inpainting: the conditional of a correlated Gaussian, known exactly."""

import pytest
import torch

from corekit.diffusion.dpm_solver import DpmSolver
from corekit.diffusion.inpainting import RePaint, inpainted
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.testing.oracle import GaussianOracle

MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 1.0]], dtype=torch.float64)
ORACLE = GaussianOracle(MEAN, COVARIANCE)
KNOWN, MASK = torch.tensor([2.0, 99.0]), torch.tensor([True, False])
# y | x = 2: mean -1 + 0.8 (2 - 0.5), variance 1 - 0.8^2
CONDITIONAL = (0.2, 0.36)
TABLE = DiscreteSchedule(cosine_betas(64))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def sampled(sampler, schedule, steps, rows=4000, predict=ORACLE.predict):
    x_T = torch.randn(rows, 2, generator=generator(), dtype=torch.float64)
    times = sampler.times(schedule, steps)
    return sampler(predict, schedule, x_T, times=times, generator=generator(1))


@pytest.mark.parametrize("sampler", [Ancestral(), Ddim(), Ddim(0.5), DpmSolver()])
def test_any_sampler_ends_with_what_is_known(sampler):
    predict = inpainted(ORACLE.predict, KNOWN, MASK)
    for schedule in (TABLE, Rectified()):
        x = sampled(sampler, schedule, 8, rows=5, predict=predict)
        assert bool((x[:, 0] == 2.0).all())
        assert bool((x[:, 1] != 99.0).all())


@pytest.mark.parametrize("sampler", [Ancestral(), Ddim()])
def test_the_known_part_is_at_the_level_of_every_step(sampler):
    """q(x_t | y) = N(alpha y, sigma^2), as if it were noised anew."""
    schedule, rows, seen = Rectified(), 20000, []
    times = schedule.times(8)
    x_T = torch.randn(rows, 2, generator=generator(), dtype=torch.float64)
    sampler(
        inpainted(ORACLE.predict, KNOWN, MASK),
        schedule,
        x_T,
        times=times,
        generator=generator(1),
        callback=lambda done, x, prediction: seen.append(x[:, 0]),
    )
    for x, time in zip(seen, times[1:], strict=True):
        assert x.mean().item() == pytest.approx(2 * (1 - time.item()), abs=0.03)
        assert x.std().item() == pytest.approx(time.item(), abs=0.03)


@pytest.mark.parametrize(
    "schedule",
    [TABLE, Rectified(), DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(64)))],
)
@pytest.mark.parametrize("jump", [1, 4])
def test_resampling_comes_near_the_conditional_mean_and_variance(schedule, jump):
    plain = sampled(RePaint(KNOWN, MASK, resamples=1), schedule, 64)[:, 1]
    again = sampled(RePaint(KNOWN, MASK, resamples=10, jump=jump), schedule, 64)[:, 1]
    mean, variance = CONDITIONAL
    assert plain.mean().item() < mean - 0.4
    assert again.mean().item() == pytest.approx(mean, abs=0.1)
    assert again.var().item() == pytest.approx(variance, abs=0.1)


def test_more_of_it_and_more_steps_come_nearer():
    mean, variance = CONDITIONAL
    x = sampled(RePaint(KNOWN, MASK, resamples=25), Rectified(), 128, rows=2000)[:, 1]
    assert x.mean().item() == pytest.approx(mean, abs=0.04)
    assert x.var().item() == pytest.approx(variance, abs=0.05)


def test_once_is_ancestral_with_the_known_part_told():
    x = sampled(RePaint(KNOWN, MASK, resamples=1), TABLE, 16, rows=5)
    wanted = sampled(Ancestral(), TABLE, 16, rows=5, predict=inpainted(ORACLE.predict, KNOWN, MASK))
    torch.testing.assert_close(x, wanted)


@pytest.mark.parametrize(("resamples", "jump", "draws"), [(1, 1, 3), (3, 1, 17), (2, 3, 10)])
def test_how_often_it_calls_and_draws(resamples, jump, draws):
    """Each step down and up draws once, but for those down to data."""
    calls, seen = [], []

    def predict(x, level):
        calls.append(round(4 * level.time[0].item()))
        return ORACLE.predict(x, level)

    noise = [torch.zeros(1, 2, dtype=torch.float64)] * draws
    given = GivenDraws({"noise": noise})
    times = Rectified().times(4)
    RePaint(KNOWN, MASK, resamples, jump)(
        predict,
        Rectified(),
        torch.zeros(1, 2, dtype=torch.float64),
        times=times,
        generator=given,
        callback=lambda done, x, prediction: seen.append(done),
    )
    assert len(calls) == 4 * resamples
    assert seen == [1, 2, 3, 4]
    assert given.given == {"noise": []}
    if jump == 3:
        assert calls == [4, 3, 2, 4, 3, 2, 1, 1]


def test_a_stretch_is_climbed_in_the_order_of_its_levels():
    moves = list(RePaint(KNOWN, MASK, resamples=2, jump=2)._moves(3))
    wanted = [(0, "down"), (1, "down"), (1, "up"), (0, "up"), (0, "last"), (1, "last")]
    assert moves == [*wanted, (2, "down"), (2, "up"), (2, "last")]


def test_one_picture_is_known_for_all_rows_or_one_for_each():
    rows = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    x = sampled(Ddim(), TABLE, 4, rows=2, predict=inpainted(ORACLE.predict, rows, MASK))
    assert x[:, 0].tolist() == [1.0, 3.0]


def test_wrong_options_are_refused():
    with pytest.raises(ShapeError, match=r"mask must be bool.*got torch.float32"):
        inpainted(ORACLE.predict, KNOWN, MASK.float())
    with pytest.raises(UsageError, match="RePaint: jump must be at least 1, got 0"):
        RePaint(KNOWN, MASK, jump=0)
