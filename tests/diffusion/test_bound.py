"""The variational bound: exact where the model is, and its pieces against independent numbers."""

import math

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import (
    Levels,
    levels_of,
    log_probability_of_level,
    step_bound,
    variational_bound,
)
from corekit.diffusion.process import (
    fixed_log_variance,
    mean_of_step,
    q_posterior_mean_variance,
    q_sample,
    reverse_of,
    transition,
)
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import Rectified, cosine_betas, linear_betas
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction

MEAN, STD = torch.tensor([0.7, -0.4], dtype=torch.float64), 0.6


def exact(x_t, level):
    """E[x_0 | x_t] of a Gaussian, and the true variance of the step back."""
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    total = alpha**2 * STD**2 + sigma**2
    x_0 = MEAN + alpha * STD**2 / total * (x_t - alpha * MEAN)
    left, back = STD**2 * sigma**2 / total, level.reverse  # Var(x_0 | x_t)
    first = (back.from_x_t == 0)[:, None]
    variance = back.from_x_0[:, None] ** 2 * left
    variance = variance + torch.where(first, 0.0, back.log_small.exp()[:, None])
    eps = (x_t - alpha * x_0) / sigma
    return Prediction(x_0, eps, variance.log().expand_as(x_t))


def test_the_bound_of_an_exact_model_is_its_likelihood():
    schedule = DiscreteSchedule(cosine_betas(40))
    x_0 = torch.tensor([[0.7, -0.4], [2.0, 0.5], [-1.0, -1.5]], dtype=torch.float64)
    rows = x_0.repeat_interleave(3000, dim=0)
    bound = variational_bound(exact, schedule, rows, generator=torch.Generator().manual_seed(0))
    found = bound.total.unflatten(0, (3, 3000))
    truth = -torch.distributions.Normal(MEAN, STD).log_prob(x_0).mean(1) / math.log(2)
    error = found.std(1) / math.sqrt(3000)
    assert ((found.mean(1) - truth).abs() <= 4 * error + 2e-3).all()
    assert error.max() < 0.03


@pytest.mark.parametrize("change", ["mean", "wide", "narrow"])
def test_another_model_has_a_larger_bound(change):
    schedule = DiscreteSchedule(cosine_betas(40))
    x_0 = MEAN + STD * torch.randn(4000, 2, generator=torch.Generator().manual_seed(1)).double()

    def other(x_t, level):
        told = exact(x_t, level)
        if change == "mean":
            return told._replace(x_0=told.x_0 + 0.1)
        return told._replace(log_variance=told.log_variance + (0.3 if change == "wide" else -0.3))

    best, worse = (
        variational_bound(how, schedule, x_0, generator=torch.Generator().manual_seed(0)).total
        for how in (exact, other)
    )
    assert (worse - best).mean() > 0.005


def test_the_drawn_terms_average_to_the_bound():
    """Each term is that of its step alone, and the columns are in order of t."""
    schedule = DiscreteSchedule(cosine_betas(7))
    x_0 = torch.randn(5, 2, dtype=torch.float64)
    eps = torch.randn(7, 5, 2, dtype=torch.float64)

    draws = GivenDraws({"eps": [eps[t] for t in reversed(range(7))]})
    bound = variational_bound(exact, schedule, x_0, generator=draws)
    for t in range(7):
        level = schedule.level(torch.full((5,), t)).map(
            lambda v: v.double() if v.is_floating_point() else v
        )
        x_t = q_sample(x_0, eps[t], level)
        told = exact(x_t, level)
        term = step_bound(told, x_0, x_t, level, None)
        torch.testing.assert_close(bound.steps[:, t], term)
        torch.testing.assert_close(bound.x_0_error[:, t], (told.x_0 - x_0).square().mean(1))
        torch.testing.assert_close(bound.eps_error[:, t], (told.eps - eps[t]).square().mean(1))
    torch.testing.assert_close(bound.total, bound.prior + bound.steps.sum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_of_all_levels_sum_to_one(dtype):
    levels = Levels(9, 0.25, -1.0)
    x = (torch.arange(9, dtype=dtype) * 0.25 - 1)[:, None]
    mean, log_std = torch.linspace(-2, 2, 21, dtype=dtype)[None], torch.zeros(1, 21, dtype=dtype)
    for size in (-6.0, -3.0, 0.0, 2.0):
        found = log_probability_of_level(x, mean, log_std + size, levels)
        assert found.isfinite().all()
        torch.testing.assert_close(
            found.exp().sum(0), torch.ones(21, dtype=dtype), atol=1e-5, rtol=0
        )
    normal = torch.distributions.Normal(0.3, 0.8)
    wanted = (normal.cdf(torch.tensor(0.125)) - normal.cdf(torch.tensor(-0.125))).log()
    found = log_probability_of_level(
        torch.zeros(1, dtype=dtype),
        torch.full((1,), 0.3).to(dtype),
        torch.full((1,), 0.8).log().to(dtype),
        levels,
    )
    torch.testing.assert_close(found[0].float(), wanted, rtol=1e-5, atol=1e-5)


def test_gradients_of_probabilities_are_finite_far_out():
    mean = torch.tensor([0.9, -50.0, 0.0, 3.0], requires_grad=True)
    log_std = torch.tensor([-9.0, 0.0, -9.0, 2.0], requires_grad=True)
    x = torch.tensor([-0.5, 0.25, 0.0, 1.0])
    log_probability_of_level(x, mean, log_std, Levels(9, 0.25, -1.0)).sum().backward()
    assert mean.grad.isfinite().all()
    assert log_std.grad.isfinite().all()


@pytest.mark.parametrize("steps", [1, 2, 30])
def test_the_step_back_of_a_table_is_the_posterior(steps):
    schedule = DiscreteSchedule(linear_betas(steps, 0.01, 0.3))
    t = torch.arange(steps)
    level, x_0, x_t = schedule.level(t), torch.randn(steps, 3), torch.randn(steps, 3)
    grid = schedule.at(torch.arange(steps + 1, dtype=torch.float64) / steps)
    here, before = grid.map(lambda c: c[1:]), grid.map(lambda c: c[:-1])
    mean, variance = q_posterior_mean_variance(x_0.double(), x_t.double(), here, before)
    torch.testing.assert_close(
        mean_of_step(x_0, x_t, level.reverse).double(), mean, rtol=1e-5, atol=1e-6
    )
    small = fixed_log_variance(level.reverse, "small", x_t).exp().double()
    torch.testing.assert_close(small[1:], variance[1:], rtol=1e-5, atol=0)
    large = fixed_log_variance(level.reverse, "large", x_t)[1:, 0]
    torch.testing.assert_close(
        large.exp().double(), torch.from_numpy(schedule.betas)[1:], rtol=1e-5, atol=0
    )
    # samplers make the same numbers of the levels that they visit
    forwards = grid.map(lambda c: c.flip(0))
    step = transition(forwards.map(lambda c: c[:-1]), forwards.map(lambda c: c[1:]))
    for ours, theirs in zip(reverse_of(step), level.reverse, strict=True):
        torch.testing.assert_close(ours.flip(0).float(), theirs, rtol=1e-4, atol=1e-5)


def test_samplers_draw_with_a_learned_variance():
    """Exact steps make the Gaussian whatever their number; a fixed variance does not."""
    schedule, n = DiscreteSchedule(cosine_betas(100)), 20_000
    x_T = torch.randn(n, 2, generator=torch.Generator().manual_seed(0)).double()
    times = schedule.times(4)

    def spread(how, sampler):
        x = sampler(how, schedule, x_T, times=times, generator=torch.Generator().manual_seed(1))
        return x.std(0)

    x = []  # after each step; the last one returns a mean
    generator = torch.Generator().manual_seed(1)

    def keep(done, value, prediction):
        x.append(value)

    Ancestral()(exact, schedule, x_T, times=times, generator=generator, callback=keep)
    level = schedule.at(times[3:4])
    wanted = (level.alpha**2 * STD**2 + level.sigma**2).sqrt()
    torch.testing.assert_close(x[2].std(0), wanted.expand(2), rtol=0.02, atol=0)
    fixed = spread(lambda a, b: exact(a, b)._replace(log_variance=None), Ancestral())
    assert fixed.max() < 0.97 * spread(exact, Ancestral()).min()
    assert torch.equal(
        spread(exact, Ddim()), spread(lambda a, b: exact(a, b)._replace(log_variance=None), Ddim())
    )


def test_a_continuous_schedule_has_no_steps_to_bound():
    level = Rectified().at(torch.tensor([0.5]))
    with pytest.raises(UsageError, match="needs a schedule of steps"):
        step_bound(
            Prediction(*torch.zeros(2, 1, 2)), torch.zeros(1, 2), torch.zeros(1, 2), level, None
        )


def test_levels_are_those_of_the_data():
    assert levels_of(None) is None
    assert levels_of(DataSpec((2,))) is None
    data = DataSpec((2,), levels=4, bin_width=0.5, lowest=-1.0)
    assert levels_of(data) == Levels(4, 0.5, -1.0)
