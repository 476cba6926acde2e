"""Every table of improved-diffusion, for every number of steps."""

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.schedules import Cosine, Linear

SCHEDULES = [(name, steps) for name in ("linear", "cosine") for steps in (20, 100, 1000, 4000)]
SCHEDULES += [("cosine", 10)]


@pytest.fixture(scope="module")
def tables(golden):
    with np.load(golden / "schedules.npz") as arrays:
        return dict(arrays)


def made(name, steps):
    """The default; of 20 linear steps, whose last beta is 1, the same betas literally."""
    if name == "cosine":
        return Cosine(steps)
    return Linear(20, 0.005, 1.0) if steps == 20 else Linear(steps)


@pytest.mark.parametrize(("name", "steps"), SCHEDULES)
def test_tables_are_those_of_the_reference(tables, name, steps):
    schedule = made(name, steps)
    level = schedule.at((torch.arange(steps, dtype=torch.float64) + 1) / steps)
    back = level.reverse
    alpha, sigma = level.alpha.numpy(), level.sigma.numpy()
    with np.errstate(divide="ignore"):
        found = {
            "betas": schedule.betas,
            "alphas_cumprod": schedule.alphas_cumprod,
            "alphas_cumprod_prev": schedule.alphas_cumprod_prev,
            "alphas_cumprod_next": np.append(schedule.alphas_cumprod[1:], 0.0),
            "sqrt_alphas_cumprod": alpha,
            "sqrt_one_minus_alphas_cumprod": sigma,
            "log_one_minus_alphas_cumprod": 2 * np.log(sigma),
            "sqrt_recip_alphas_cumprod": 1 / alpha,
            "sqrt_recipm1_alphas_cumprod": np.exp(-level.log_snr.numpy() / 2),
            "posterior_variance": schedule.posterior_variance,
            "posterior_log_variance_clipped": back.log_small.numpy(),
            "posterior_mean_coef1": back.from_x_0.numpy(),
            "posterior_mean_coef2": back.from_x_t.numpy(),
        }
    wanted = {
        key.split("/")[2]: v for key, v in tables.items() if key.startswith(f"{name}/{steps}/")
    }
    assert found.keys() == wanted.keys()
    for key, value in found.items():
        # log(sigma^2) of a sigma near 1 is near 0, hence atol; and the reference takes 1 / product
        # - 1 of products that differ from 1 by 1e-5, so its square has 11 digits
        rtol = 1e-11 if key == "sqrt_recipm1_alphas_cumprod" else 1e-12
        np.testing.assert_allclose(value, wanted[key], rtol=rtol, atol=1e-15, err_msg=key)
    assert np.isinf(wanted["sqrt_recip_alphas_cumprod"]).any() == (name == "linear" and steps == 20)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_few_cosine_steps_work(steps):
    schedule = Cosine(steps)
    level = schedule.level(torch.arange(steps))
    assert all(value.isfinite().all() for value in level.columns.values())
    assert schedule.alphas_cumprod[-1] < 1e-2
    assert schedule.betas[-1] == 0.999
