"""VDM: its schedule, and its loss, whose mean is the bound."""

import math

import pytest
import torch
from corekit_ddpm_improved.later_specs import VdmScheduleSpec
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.vdm import Vdm, VdmSchedule
from pydantic import ValidationError

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import variational_bound
from corekit.diffusion.continuous_bound import continuous_bound, ends_of
from corekit.diffusion.karras import Heun
from corekit.diffusion.process import q_sample
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Prediction
from corekit.testing.oracle import GaussianOracle, Trigonometric

VARIANCES = torch.tensor([0.25, 4.0], dtype=torch.float64)
ORACLE = GaussianOracle(torch.tensor([0.5, -1.0], dtype=torch.float64), VARIANCES)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def data(rows):
    return ORACLE.mean + VARIANCES.sqrt() * normal(rows, 2, seed=5)


def loss_at(part, schedule, level, x, eps, predict=ORACLE.predict):
    x_t = q_sample(x, eps, level)
    return part(predict(x_t, level), x, x_t, eps, level)


def test_the_log_snr_is_a_straight_line():
    schedule = VdmSchedule(-8.0, 4.0)
    level = schedule.at(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64))
    assert level.log_snr.tolist() == [8, 5, -4]
    torch.testing.assert_close(level.alpha**2, torch.sigmoid(level.log_snr))
    torch.testing.assert_close(level.alpha**2 + level.sigma**2, torch.ones(3).double())
    assert ends_of(VdmSchedule()) == pytest.approx((13.3, -5.0))


@pytest.mark.parametrize("gamma_min", [-13.3, -6.0])
@pytest.mark.parametrize("grid", ["arctan", "even", "karras", "log_snr"])
def test_every_grid_ends_at_the_noise_that_is_left(grid, gamma_min):
    schedule = VdmSchedule(gamma_min, 5.0)
    sampler = Heun(steps=12, grid=grid)
    times = sampler.times(schedule)
    assert times.shape == (13,)
    assert (times[0], times[-1]) == (1, 0)
    assert (times.diff() < 0).all()
    x = sampler(ORACLE.predict, schedule, normal(5, 2), times=times)
    ends = (schedule.at(torch.tensor([t], dtype=torch.float64)) for t in (1.0, 0.0))
    torch.testing.assert_close(x, ORACLE.flow(normal(5, 2), *ends), atol=0.15, rtol=0)


def test_its_weight_is_half_the_slope_of_the_log_snr():
    """On this schedule: (gamma_max - gamma_min) / 2 of the squared error of eps, in bits."""
    schedule, part = VdmSchedule(-8.0, 4.0), Vdm()
    part.prepare(schedule)
    level = schedule.at(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    x, eps, off = data(3), normal(3, 2), normal(3, 2, seed=1)

    def wrong(x_t, level):
        e = eps + off
        return Prediction((x_t - level.sigma[:, None] * e) / level.alpha[:, None], e)

    def right(x_t, level):
        return Prediction(x, eps)

    high, low = (loss_at(part, schedule, level, x, eps, p) for p in (wrong, right))
    torch.testing.assert_close(high - low, 6 / math.log(2) * off.square().mean(1))


@pytest.mark.parametrize("levels", [False, True])
def test_over_even_times_its_mean_is_the_bound(levels):
    """The rows take their times from a grid of mid-points, so the noise is that of eps alone."""
    schedule, part, n = VdmSchedule(-6.0, 4.0), Vdm(), 6000
    spec = DataSpec((2,), levels=41, bin_width=0.5, lowest=-10.0) if levels else None
    x = (2 * data(n)).round() / 2 if levels else data(n)
    part.prepare(schedule, spec)
    time = (torch.arange(n, dtype=torch.float64)[torch.randperm(n)] + 0.5) / n
    found = loss_at(part, schedule, schedule.at(time), x, normal(n, 2))
    other = continuous_bound(ORACLE.predict, schedule, x, spec, draws_per_example=8)
    (mean, error), mine = other.mean, found.std().item() / n**0.5
    assert abs(found.mean().item() - mean) < 4 * math.hypot(error, mine)
    assert mine < 0.1
    if not levels:
        softplus, logs = torch.nn.functional.softplus, VARIANCES.log()
        diffusion = softplus(6 + logs) - softplus(-4 + logs)
        alpha2 = 1 / (1 + math.exp(4))
        prior = alpha2 * (VARIANCES + ORACLE.mean**2) - alpha2 - math.log(1 - alpha2)
        wanted = 0.5 * (prior + diffusion + math.log(2 * math.pi * math.e) - 6).mean().item()
        assert abs(found.mean().item() - wanted / math.log(2)) < 4 * mine


def test_how_fast_time_passes_does_not_matter():
    """The integral over time is that over log-SNR: of eps_hat = 0, half its range times eps^2."""

    class Bent(VdmSchedule):
        def at(self, time):
            level = super().at(time**2)
            slopes = (2 * time * slope for slope in (level.dalpha, level.dsigma))
            return level._replace(time=time)._replace(
                **dict(zip(("dalpha", "dsigma"), slopes, strict=True))
            )

    time = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    ones, x = torch.ones(20000, 1, dtype=torch.float64), torch.zeros(20000, 1, dtype=torch.float64)

    def nothing(x_t, level):
        return Prediction(x_t / level.alpha[:, None], torch.zeros_like(x_t))

    means = []
    for schedule in (VdmSchedule(-6.0, 4.0), Bent(-6.0, 4.0)):
        part = Vdm()
        part.prepare(schedule)
        means.append(loss_at(part, schedule, schedule.at(time), x, ones, nothing).mean().item())
    assert means[0] == pytest.approx(means[1], rel=1e-5)


@pytest.mark.parametrize("schedule", [Cosine(12), Linear(30), Linear(30, zero_terminal_snr=True)])
def test_on_steps_it_is_the_bound_of_steps(schedule):
    part, x, t = Vdm(), data(4), schedule.steps
    part.prepare(schedule)
    eps = [normal(4, 2, seed=i) for i in range(t)]
    terms = []
    for i in range(t):
        level = schedule.at(torch.full((4,), (i + 1) / t, dtype=torch.float64))
        terms.append(loss_at(part, schedule, level, x, eps[i]))
    draws = GivenDraws({"eps": eps[::-1]})
    bound = variational_bound(ORACLE.predict, schedule, x, generator=draws)
    first = schedule.at(torch.full((1,), 1 / t, dtype=torch.float64))
    surprise = 0.5 * math.log(2 * math.pi * math.e) - 0.5 * first.log_snr.item()
    wanted = bound.prior + bound.steps[:, 1:].sum(1) + surprise / math.log(2)
    torch.testing.assert_close(torch.stack(terms).mean(0), wanted, rtol=1e-5, atol=1e-6)


def test_it_is_told_the_levels_of_the_data():
    part = Vdm()
    part.prepare(VdmSchedule(), DataSpec((2,), levels=4, bin_width=0.5, lowest=-1.0))
    assert part.levels == (4, 0.5, -1.0)
    assert part.ends == pytest.approx((13.3, -5.0))


def test_what_has_no_bound_is_refused():
    for schedule in (Rectified(), Trigonometric()):
        with pytest.raises(UsageError, match=r"a little noise at time 0.*Use ddpm.vdm_schedule"):
            Vdm().prepare(schedule)
    standardised = DataSpec((2,), levels=4, bin_width=0.5, lowest=-1.0, mean=(0.0,), std=(2.0,))
    with pytest.raises(UsageError, match="must not be standardised"):
        Vdm().prepare(VdmSchedule(), standardised)
    with pytest.raises(UsageError, match=r"gamma_min must be below gamma_max, got 3.0 and 3.0"):
        VdmSchedule(3.0, 3.0)
    with pytest.raises(ValidationError, match="gamma_min must be below gamma_max"):
        VdmScheduleSpec(gamma_min=3, gamma_max=3)
    level = VdmSchedule().at(torch.tensor([0.5], dtype=torch.float64))
    with pytest.raises(UsageError, match=r"prepare\(schedule\) must come first"):
        loss_at(Vdm(), VdmSchedule(), level, data(1), normal(1, 2))
    part = Vdm()
    part.prepare(VdmSchedule())
    with pytest.raises(UsageError, match="needs the derivatives of alpha and sigma"):
        loss_at(part, VdmSchedule(), level._replace(dalpha=None), data(1), normal(1, 2))
