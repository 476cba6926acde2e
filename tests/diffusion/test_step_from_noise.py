"""The step back from pure noise is no step to clean data, though it does not look at x_t."""

import math

import pytest
import torch

from corekit.diffusion.bound import step_bound
from corekit.diffusion.process import ends_at_data, fixed_log_variance
from corekit.diffusion.schedules import linear_betas, rescale_zero_terminal_snr
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction

SCHEDULE = DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(50)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [2, 50])
def test_only_the_first_level_ends_at_data(steps, dtype):
    betas = rescale_zero_terminal_snr(linear_betas(steps, 1e-4, 0.02))
    time = torch.arange(1, steps + 1, dtype=dtype) / steps
    found = ends_at_data(DiscreteSchedule(betas).at(time).reverse)
    assert found.tolist() == [True] + [False] * (steps - 1)


def test_its_term_of_the_bound_is_a_divergence():
    """Of two Gaussians with the variance of q, alpha_s (x_0_hat - x_0) apart."""
    level = SCHEDULE.at(torch.ones(1, dtype=torch.float64))
    x_0, told = torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[0.1, 0.0]]).double()
    found = step_bound(Prediction(told, told), x_0, torch.ones_like(x_0), level, None)
    before = SCHEDULE.alphas_cumprod[-2]
    wanted = 0.5 * before * (told - x_0).square().mean() / (1 - before) / math.log(2)
    torch.testing.assert_close(found, wanted[None])


def test_its_large_variance_is_beta():
    level = SCHEDULE.at(torch.tensor([1.0, 0.5], dtype=torch.float64))
    large = fixed_log_variance(level.reverse, "large", torch.zeros(2, 1))
    assert large[:, 0].exp().tolist() == pytest.approx(SCHEDULE.betas[[49, 24]].tolist())
