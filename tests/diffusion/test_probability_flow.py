"""The probability-flow ODE against its closed form for Gaussian data, on every schedule."""

import math

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.ode_likelihood import ode_log_prob
from corekit.diffusion.probability_flow import ends_of, level_at_angle, solve
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import UsageError
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.testing.oracle import GaussianOracle, OracleDenoiser, Trigonometric


class Exploding(NoiseSchedule):
    """alpha = 1, sigma from 0.01 to 50: variance-exploding."""

    def at(self, time):
        sigma = 0.01 * 5000**time
        slope = sigma * math.log(5000)
        one, snr = torch.ones_like(time), -2 * sigma.log()
        return NoiseLevel(time, one, sigma, 0 * one, slope, snr)

    def time_of(self, log_snr):
        return ((-log_snr / 2).exp() / 0.01).log() / math.log(5000)


SCHEDULES = {
    "linear": DiscreteSchedule(linear_betas(1000)),
    "cosine": DiscreteSchedule(cosine_betas(400)),
    "zero_snr": DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(1000))),
    "respaced": DiscreteSchedule(cosine_betas(1000)).respace(range(0, 1000, 7)),
    "rectified": Rectified(),
    "trigonometric": Trigonometric(),
    "exploding": Exploding(),
}
MEAN = torch.tensor([0.7, -0.4, 0.0], dtype=torch.float64)
ROOT = torch.tensor([[0.8, 0, 0], [0.3, 0.5, 0], [-0.4, 0.2, 0.6]], dtype=torch.float64)
ORACLE = GaussianOracle(MEAN, ROOT @ ROOT.T)


def scaled(schedule, angle):
    """The level at an angle, of unit size: what y is."""
    level = level_at_angle(schedule, angle)
    size = torch.hypot(level.alpha, level.sigma)
    return level._replace(alpha=level.alpha / size, sigma=level.sigma / size)


class Error(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def model(schedule, predicts="v", **facts):
    return DiffusionModel(
        DataSpec((3,), **facts),
        denoiser=lambda **given: OracleDenoiser(ORACLE, predicts),
        schedule=schedule,
        loss=Error(),
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_level_at_an_angle_has_that_angle(name):
    schedule = SCHEDULES[name]
    first, last = ends_of(schedule)
    assert 0 < first < 0.05
    assert 1.4 < last <= math.pi / 2 + 1e-12
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        angle = first + share * (last - first)
        level = level_at_angle(schedule, angle)
        torch.testing.assert_close(
            torch.atan2(level.sigma, level.alpha).item(), angle, atol=1e-9, rtol=0
        )
        near = schedule.at(level.time)
        slack = 2 / schedule.steps if isinstance(schedule, DiscreteSchedule) else 1e-9
        torch.testing.assert_close(near.sigma, level.sigma, atol=0, rtol=5 * slack + 0.02)
        if isinstance(schedule, DiscreteSchedule):
            original = torch.as_tensor(schedule.original)
            low, high = (original[int(f(level.time * schedule.steps)) - 1] for f in (floor, ceil))
            assert low <= level.step.item() <= high


def floor(value):
    return math.floor(value.item() + 1e-9)


def ceil(value):
    return math.ceil(value.item() - 1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("to_data", [False, True])
def test_it_ends_where_the_exact_solution_does(name, to_data):
    schedule, y = SCHEDULES[name], torch.randn(5, 3, dtype=torch.float64)
    found, logdet = solve(ORACLE.predict, schedule, y, to_data=to_data, steps=60, trace="exact")
    ends = [scaled(schedule, angle) for angle in ends_of(schedule)]
    start, stop = reversed(ends) if to_data else ends
    wanted = ORACLE.flow(y, start, stop)
    torch.testing.assert_close(found, wanted, atol=2e-5, rtol=2e-5)
    volumes = [torch.linalg.slogdet(ORACLE.marginal(level)[1])[1] for level in (start, stop)]
    torch.testing.assert_close(
        logdet, (0.5 * (volumes[1] - volumes[0])).expand(5), atol=2e-4, rtol=1e-4
    )


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_it_converges_with_the_order_of_the_solver(solver, order):
    y, schedule = torch.randn(5, 3, dtype=torch.float64), Trigonometric()
    wanted = ORACLE.flow(y, *(scaled(schedule, angle) for angle in ends_of(schedule)))
    errors = [
        (solve(ORACLE.predict, schedule, y, solver=solver, steps=n)[0] - wanted).abs().max()
        for n in (20, 40)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("name", ["cosine", "zero_snr", "rectified", "exploding"])
def test_its_log_prob_is_that_of_the_data(name):
    """But for the noise of the first level, and what the last one still shows of the data."""
    made, x = model(SCHEDULES[name]), MEAN + torch.randn(4, 3, dtype=torch.float64) @ ROOT.T
    truth = torch.distributions.MultivariateNormal(MEAN, scale_tril=ROOT).log_prob(x)
    found = ode_log_prob(made.density, x, trace="exact", steps=80)
    assert found.kind is Likelihood.EXACT
    slack = 0.1 if name == "exploding" else 5e-3
    torch.testing.assert_close(found.value, truth, atol=slack, rtol=0)


def test_an_estimated_divergence_is_right_on_average():
    made = model(Trigonometric())
    x = torch.tensor([[0.5, -1.0, 0.3]], dtype=torch.float64).expand(3000, 3)
    one = ode_log_prob(made.density, x[:1], trace="exact", steps=20).value
    found = ode_log_prob(made.density, x, steps=20, generator=torch.Generator().manual_seed(0))
    assert found.kind is Likelihood.UNBIASED
    error = found.value.std() / math.sqrt(len(x))
    assert 0 < error < 0.02
    assert abs(found.value.mean() - one) < 4 * error


def test_levels_are_dequantised_and_the_kind_says_so():
    made = model(Trigonometric(), levels=9, bin_width=0.25, lowest=-1.0)
    x = torch.tensor([[0.5, -1.0, 0.25]], dtype=torch.float64).expand(4000, 3)
    found = ode_log_prob(
        made.density, x, trace="exact", steps=20, generator=torch.Generator().manual_seed(0)
    )
    assert found.kind is Likelihood.WEIGHT
    inside = 0.25 * (torch.rand(400_000, 3, dtype=torch.float64) - 0.5) + x[0]
    density = torch.distributions.MultivariateNormal(MEAN, scale_tril=ROOT).log_prob(inside).exp()
    torch.testing.assert_close(found.value.exp().mean(), density.mean(), atol=0, rtol=0.02)


def test_a_row_does_not_depend_on_the_others():
    made, x = model(Trigonometric()), torch.randn(3, 3, dtype=torch.float64)
    whole = ode_log_prob(made.density, x, steps=4, generator=RowDraws(0, [5, 6, 7])).value
    last = ode_log_prob(made.density, x[2:], steps=4, generator=RowDraws(0, [7])).value
    torch.testing.assert_close(whole[2:], last)


@pytest.mark.parametrize("name", ["cosine", "rectified", "exploding"])
def test_a_model_decodes_what_it_encodes(name):
    made, x = model(SCHEDULES[name]), torch.randn(4, 3, dtype=torch.float64)
    made.standardize([0.5, 0.0, -1.0], [2.0, 1.0, 0.5])
    z = made.encode(x)
    torch.testing.assert_close(made.decode(z), x, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(made.reconstruct(x), made.decode(z))


def test_a_sampler_that_draws_nothing_decodes_too():
    made, x = model(Trigonometric()), torch.randn(4, 3, dtype=torch.float64)
    z = made.encode(x)
    found = made.decode(z, sampler=Ddim(steps=400))
    torch.testing.assert_close(found, x, atol=0.02, rtol=0)
    with pytest.raises(UsageError, match="must have a sampler that draws nothing"):
        made.decode(z, sampler=Ancestral(steps=4))


def test_what_lies_between_two_latents_is_as_long_as_they_are():
    made = model(Trigonometric())
    a, b = torch.randn(2, 6, 3, dtype=torch.float64)
    b = b / b.norm(dim=1, keepdim=True) * a.norm(dim=1, keepdim=True)
    for share in torch.linspace(0, 1, 5, dtype=torch.float64):
        between = made.between(a, b, share)
        torch.testing.assert_close(between.norm(dim=1), a.norm(dim=1))
    torch.testing.assert_close(made.between(a, a, torch.tensor(0.3)), a)
    path = made.interpolate(a, b, 3)
    torch.testing.assert_close(path[:, 0], a, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(path[:, 2], b, atol=1e-4, rtol=1e-4)


def test_single_precision_comes_back_as_such():
    made, x = model(SCHEDULES["cosine"]).float(), torch.randn(2, 3)
    z = made.encode(x)
    assert z.dtype is torch.float32
    torch.testing.assert_close(made.decode(z), x, atol=1e-3, rtol=1e-3)
