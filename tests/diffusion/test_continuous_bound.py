"""The bound in continuous time, where it is known: Gaussian data and their exact denoiser."""

import math

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import Levels, prior_bound
from corekit.diffusion.continuous_bound import (
    continuous_bound,
    ends_of,
    prior_term,
    reconstruction_term,
)
from corekit.diffusion.schedules import Rectified, linear_betas
from corekit.errors import UsageError
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.testing.oracle import GaussianOracle, Trigonometric

MEAN = torch.tensor([0.5, -1.0, 0.0], dtype=torch.float64)
VARIANCES = torch.tensor([0.25, 1.0, 3.0], dtype=torch.float64)
ORACLE = GaussianOracle(MEAN, VARIANCES)
ENTROPY = 0.5 * (2 * math.pi * math.e * VARIANCES).log2().mean().item()


def data(rows, seed=0):
    noise = torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=MEAN.dtype)
    return MEAN + VARIANCES.sqrt() * noise


def exact(clean, noisy):
    """The mean of the bound over the data, bits per dimension: its integral in closed form.

    E|eps_hat - eps|^2 = sigmoid(log_snr + log v), whose integral is a softplus.
    """
    alpha2 = 1 / (1 + math.exp(-noisy))
    prior = alpha2 * (VARIANCES + MEAN**2) - alpha2 - math.log(1 - alpha2)
    logs = VARIANCES.log()
    softplus = torch.nn.functional.softplus
    diffusion = softplus(clean + logs) - softplus(noisy + logs)
    surprise = math.log(2 * math.pi * math.e) - clean
    return 0.5 * (prior + diffusion + surprise).mean().item() / math.log(2)


@pytest.mark.parametrize("schedule", [Trigonometric(), Rectified()])
@pytest.mark.parametrize("ends", [(8.0, -5.0), (2.0, -1.0), None])
def test_it_is_the_bound_that_is_known(schedule, ends):
    found = continuous_bound(
        ORACLE.predict,
        schedule,
        data(3000),
        generator=torch.Generator().manual_seed(1),
        draws_per_example=8,
        ends=ends,
    )
    mean, error = found.mean
    wanted = exact(*(ends or ends_of(schedule)))
    assert abs(mean - wanted) < 4 * error
    assert error < 0.08
    torch.testing.assert_close(found.total, found.prior + found.diffusion + found.reconstruction)


def test_with_ends_far_apart_it_is_the_entropy():
    assert exact(18, -18) == pytest.approx(ENTROPY, abs=1e-6)
    assert exact(4, -4) > ENTROPY + 0.01
    found = continuous_bound(
        ORACLE.predict, Rectified(), data(3000), generator=RowDraws(0, range(3000))
    )
    mean, error = found.mean
    assert abs(mean - ENTROPY) < 4 * error + 1e-4


def test_a_denoiser_that_is_off_costs_its_squared_error():
    """Of eps_hat + c, the bound is larger by c^2 / 2 times the range of log-SNR."""
    c, ends = 0.3, (6.0, -4.0)

    def off(x_t, level):
        right = ORACLE.predict(x_t, level)
        return right._replace(eps=right.eps + c)

    draws = {"draws_per_example": 8, "ends": ends}
    low, high = (
        continuous_bound(p, Rectified(), data(3000), generator=RowDraws(2, range(3000)), **draws)
        for p in (ORACLE.predict, off)
    )
    more = high.total - low.total
    wanted = c**2 / 2 * 10 / math.log(2)
    assert more.mean().item() == pytest.approx(wanted, abs=4 * more.std().item() / 3000**0.5)


def test_its_standard_error_is_that_of_its_draws():
    same = data(1).expand(800, -1)
    found = continuous_bound(
        ORACLE.predict, Rectified(), same, generator=RowDraws(0, range(800)), ends=(6.0, -6.0)
    )
    spread, claimed = found.total.std().item(), found.standard_error.mean().item()
    assert 0.3 * claimed < spread < 1.1 * claimed  # evenly spread draws err less


def test_more_draws_err_less_and_rows_are_their_own():
    x = data(50)
    few, many = (
        continuous_bound(
            ORACLE.predict, Rectified(), x, generator=RowDraws(0, range(50)), draws_per_example=n
        )
        for n in (4, 64)
    )
    assert many.standard_error.mean() < few.standard_error.mean() / 2.5
    some = continuous_bound(
        ORACLE.predict, Rectified(), x[:7], generator=RowDraws(0, range(7)), draws_per_example=4
    )
    torch.testing.assert_close(some.total, few.total[:7])


def test_of_data_with_levels_it_counts_their_probabilities():
    """-log2 p of the levels k / 2 of N(0, 1): the bound is above it, and near."""
    levels = DataSpec((2,), levels=13, bin_width=0.5, lowest=-3.0)
    k = torch.arange(13, dtype=torch.float64)
    edges = -3.25 + 0.5 * torch.arange(14, dtype=torch.float64)
    cdf = torch.special.ndtr(edges)
    cdf[0], cdf[-1] = 0, 1
    p = cdf.diff()
    x = -3 + 0.5 * torch.multinomial(p, 8000, True, generator=torch.Generator().manual_seed(0))
    x = x.double().reshape(-1, 2)
    support = -3 + 0.5 * k

    def predict(x_t, level):  # the exact denoiser of these levels
        alpha, sigma = level.alpha[:, None, None], level.sigma[:, None, None]
        score = -0.5 * ((x_t[..., None] - alpha * support) / sigma) ** 2 + p.log()
        x_0 = (score.softmax(-1) * support).sum(-1)
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        return ORACLE.predict(x_t[:, :1].expand(-1, 3), level)._replace(
            x_0=x_0, eps=(x_t - alpha * x_0) / sigma
        )

    found = continuous_bound(
        predict, Trigonometric(), x, levels, generator=RowDraws(0, range(4000))
    )
    mean, error = found.mean
    entropy = -(p * p.log2()).sum().item()
    assert abs(mean - entropy) < 4 * error + 1e-3
    assert error < 0.04
    assert found.reconstruction.max() < 1e-6  # bins of 0.5, noise of 0.0013


def test_the_reconstruction_is_a_distribution_over_the_levels():
    levels, log_snr = Levels(5, 0.5, -1.0), 1.5
    x = (levels.lowest + 0.5 * torch.arange(5, dtype=torch.float64))[:, None]
    for z in (-1.3, 0.2, 5.0):
        eps = (z - x) * math.exp(log_snr / 2)
        bits = reconstruction_term(x, eps, log_snr, levels)
        assert (-bits * math.log(2)).exp().sum().item() == pytest.approx(1)


def test_the_prior_is_that_of_a_table_that_ends_there():
    schedule = DiscreteSchedule(linear_betas(60))
    last = schedule.at(torch.ones(1, dtype=torch.float64)).log_snr.item()
    torch.testing.assert_close(prior_term(data(5), last), prior_bound(data(5), schedule))


def test_ends_are_those_of_the_schedule_unless_they_are_infinite():
    assert ends_of(Rectified()) == (13.3, -13.3)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(UsageError, match=r"must be continuous, got DiscreteSchedule of 30 steps"):
        continuous_bound(ORACLE.predict, DiscreteSchedule(linear_betas(30)), data(2))
    with pytest.raises(UsageError, match="at least 2, got 1"):
        continuous_bound(ORACLE.predict, Rectified(), data(2), draws_per_example=1)
    with pytest.raises(UsageError, match=r"must fall .* got -5.0 and 5.0"):
        continuous_bound(ORACLE.predict, Rectified(), data(2), ends=(-5.0, 5.0))
