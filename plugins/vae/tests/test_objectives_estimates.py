"""Estimates of distances and correlations of two samples, where the truth is known."""

import math

import pytest
import torch
from corekit_vae.objectives.beta_tc import log_aggregate, log_weights
from corekit_vae.objectives.mmd import squared_mmd

from corekit.latent.posteriors import DiagonalGaussian


@pytest.mark.parametrize("kernel", ["rbf", "imq", "imq_multi"])
def test_mmd_of_equal_laws_is_zero_on_average(kernel):
    generator = torch.Generator().manual_seed(0)
    pairs = torch.randn(500, 2, 9, 3, generator=generator, dtype=torch.float64)
    values = torch.stack([squared_mmd(a, b, kernel) for a, b in pairs])
    assert values.mean().abs() < 3 * values.std() / math.sqrt(len(values))
    moved = torch.stack([squared_mmd(a, b + 1, kernel) for a, b in pairs])
    assert moved.mean() > 0.05


def test_the_total_correlation_of_independent_codes_is_about_zero():
    """N = B: the batch is all there is. Narrow posteriors around independent codes."""
    generator = torch.Generator().manual_seed(0)
    n, eps = 2000, torch.randn(2, 2000, 2, generator=generator, dtype=torch.float64)
    mu, found = eps[0], {}
    mixed = torch.stack([mu[:, 0], 0.8 * mu[:, 0] + 0.6 * mu[:, 1]], dim=1)
    for name, centres in (("independent", mu), ("correlated", mixed)):
        q = DiagonalGaussian(centres, torch.full_like(centres, math.log(0.1)))
        z = centres + math.sqrt(0.1) * eps[1]
        joint, product = log_aggregate(q, z, log_weights(z, n, 10**9, "stratified"))
        found[name] = (joint - product).mean()
    rho = 0.8 / 1.1  # of z, whose variances are 1 + 0.1
    assert abs(found["independent"]) < 0.05
    assert found["correlated"] == pytest.approx(-0.5 * math.log(1 - rho**2), abs=0.05)
