"""The bound from a few of its terms: unbiased, in the units that a density has."""

import math

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import variational_bound
from corekit.diffusion.bound_estimate import estimated_bound, strata
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.schedules import cosine_betas
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.testing.oracle import GaussianOracle, OracleDenoiser, Trigonometric

MEAN, STD = torch.tensor([0.7, -0.4], dtype=torch.float64), 0.6
ORACLE = GaussianOracle(MEAN, torch.full((2,), STD**2, dtype=torch.float64))


class Exploding(NoiseSchedule):
    """alpha = 1, sigma from 0.01 to 50."""

    def at(self, time):
        sigma = 0.01 * 5000**time
        one, slope = torch.ones_like(time), sigma * math.log(5000)
        return NoiseLevel(time, one, sigma, 0 * one, slope, -2 * sigma.log())

    def time_of(self, log_snr):
        return ((-log_snr / 2).exp() / 0.01).log() / math.log(5000)


class Error(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def seed(number):
    return torch.Generator().manual_seed(number)


def model(schedule=None, predicts="eps", fixed_variance="small", **facts):
    return DiffusionModel(
        DataSpec((2,), **facts),
        fixed_variance=fixed_variance,
        denoiser=lambda **given: OracleDenoiser(ORACLE, predicts),
        schedule=DiscreteSchedule(cosine_betas(50)) if schedule is None else schedule,
        loss=Error(),
    )


@pytest.mark.parametrize("steps", [1, 2, 3, 12, 50, 1000])
@pytest.mark.parametrize("number", [1, 2, 5, 12, 2000])
def test_strata_hold_every_step_once(steps, number):
    found = strata(steps, number)
    assert len(found) == min(steps, number)
    assert [t for stratum in found for t in stratum] == list(range(steps))
    lengths = [len(stratum) for stratum in found]
    assert min(lengths) >= 1
    assert lengths == sorted(lengths) or number == 1


def test_with_every_step_it_is_the_bound():
    schedule, x_0 = DiscreteSchedule(cosine_betas(9)), torch.randn(4, 2, dtype=torch.float64)
    whole = variational_bound(ORACLE.predict, schedule, x_0, generator=seed(3)).total
    for calls in (9, 30):
        found = estimated_bound(ORACLE.predict, schedule, x_0, calls=calls, generator=seed(3))
        torch.testing.assert_close(found, whole)


@pytest.mark.parametrize("calls", [1, 2, 6])
def test_few_terms_are_the_bound_on_average(calls):
    schedule = DiscreteSchedule(cosine_betas(12))
    rows = torch.tensor([[0.2, 0.9]], dtype=torch.float64).expand(20_000, 2)
    few = estimated_bound(ORACLE.predict, schedule, rows, calls=calls, generator=seed(0))
    whole = variational_bound(ORACLE.predict, schedule, rows, generator=seed(1)).total
    error = math.hypot(few.std().item(), whole.std().item()) / math.sqrt(len(rows))
    assert abs(few.mean() - whole.mean()) < 4 * error
    assert error < 0.1


@pytest.mark.parametrize("variance", ["small", "large"])
def test_log_prob_is_a_bound_in_nats(variance):
    made = model(fixed_variance=variance)
    x = torch.tensor([[0.2, 0.9]], dtype=torch.float64).expand(20_000, 2)
    found = made.log_prob(x, generator=seed(0))
    assert found.kind is made.kind is Likelihood.BOUND
    given = ORACLE.predict, made.density.schedule, x
    whole = variational_bound(*given, variance=variance, generator=seed(1)).total
    wanted, error = -2 * math.log(2) * whole.mean(), 4 * found.value.std() / math.sqrt(len(x))
    assert abs(found.value.mean() - wanted) < error
    truth = torch.distributions.Normal(MEAN, STD).log_prob(x[0]).sum()
    assert truth - 3 < wanted < truth
    assert error < 0.2


def test_a_schedule_that_starts_with_a_little_noise_has_a_bound():
    made = model(Exploding(), predicts="v")
    assert made.kind is Likelihood.BOUND
    x = torch.tensor([[0.2, 0.9]], dtype=torch.float64).expand(20_000, 2)
    found = made.log_prob(x, generator=seed(0)).value
    error = 4 * found.std() / math.sqrt(len(x))
    truth = torch.distributions.Normal(MEAN, STD).log_prob(x[0]).sum()
    assert truth - 0.1 - error < found.mean() < truth + error
    assert error < 0.2
    with pytest.raises(NoDensity, match="no bound of steps"):
        made.density.bound(x[:1])


def test_bits_per_dim_of_levels_are_those_of_the_bound():
    """The width of a bin is taken off and put back: log_prob is a density on each bin."""
    made = model(levels=5, bin_width=0.5, lowest=-1.0)
    x = torch.tensor([[0.5, -1.0], [0.0, 1.0]], dtype=torch.float64)
    found = made.bits_per_dim(x, generator=seed(4))
    density = made.density
    wanted = estimated_bound(
        ORACLE.predict, density.schedule, x, made.data, calls=density.bound_calls, generator=seed(4)
    )
    torch.testing.assert_close(found, wanted)
    nats = made.log_prob(x, generator=seed(4)).value
    torch.testing.assert_close(nats, -2 * (wanted * math.log(2) + math.log(0.5)))


def test_standardised_data_keep_their_density():
    x = torch.randn(3, 2, dtype=torch.float64)
    plain, scaled = model(), model()
    scaled.standardize([1.0, -2.0], [3.0, 0.5])
    there = 3.0 * x[:, :1] + 1.0, 0.5 * x[:, 1:] - 2.0
    found = scaled.log_prob(torch.cat(there, 1), generator=seed(0)).value
    wanted = plain.log_prob(x, generator=seed(0)).value - math.log(1.5)
    torch.testing.assert_close(found, wanted)


def test_there_is_no_bound_without_steps_or_levels_that_are_known():
    standardised = {"levels": 5, "bin_width": 0.5, "lowest": -1.0, "mean": (0.0,), "std": (2.0,)}
    for made in (model(Trigonometric(), predicts="v"), model(**standardised)):
        assert made.kind is Likelihood.NONE
        with pytest.raises(NoDensity):
            made.log_prob(torch.zeros(1, 2))


def test_no_calls_are_refused():
    with pytest.raises(UsageError, match="calls must be at least 1, got 0"):
        estimated_bound(ORACLE.predict, DiscreteSchedule([0.5]), torch.zeros(1, 2), calls=0)
