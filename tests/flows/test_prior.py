"""Densities of flows against closed forms."""

import math

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.errors import NoDensity, ShapeError, UsageError
from corekit.flows.compose import Repeat
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch


@pytest.fixture
def gaussian():
    """A linear flow in float64, and the Gaussian that it is."""
    torch.manual_seed(0)
    flow = FlowModel(DataSpec((3,)), bijector=Linear).double()
    linear = flow.density.bijector
    torch.nn.init.normal_(linear.weight)
    torch.nn.init.normal_(linear.bias)
    inverse = torch.linalg.inv(linear.weight.detach())
    mean = -inverse @ linear.bias.detach()
    return flow, torch.distributions.MultivariateNormal(mean, inverse @ inverse.T)


def test_linear_flow_has_the_likelihood_of_its_gaussian(gaussian):
    flow, truth = gaussian
    x = truth.sample((50,))
    got = flow.log_prob(x)
    assert got.kind is Likelihood.EXACT
    torch.testing.assert_close(got.value, truth.log_prob(x), rtol=0, atol=1e-10)
    torch.testing.assert_close(flow(Batch(x)).total, -truth.log_prob(x), rtol=0, atol=1e-10)


def test_linear_flow_samples_its_gaussian(gaussian):
    flow, truth = gaussian
    x = flow.sample(40_000, generator=torch.Generator().manual_seed(0))
    assert x.dtype == torch.float64
    spread = truth.covariance_matrix.diagonal().sqrt()
    assert ((x.mean(0) - truth.mean) / spread).abs().max() < 4 / math.sqrt(40_000)
    error = (x.T.cov() - truth.covariance_matrix) / torch.outer(spread, spread)
    assert error.abs().max() < 0.03


def test_encode_and_decode_are_inverse(gaussian):
    flow, truth = gaussian
    x = truth.sample((5,))
    torch.testing.assert_close(flow.reconstruct(x), x)


def test_standard_normal_in_any_shape():
    prior = StandardNormal((2, 3))
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(x).sum((1, 2))
    torch.testing.assert_close(prior.log_prob(x).value, expected)
    assert prior.sample(5).shape == (5, 2, 3)
    assert prior.double().sample(5).dtype == torch.float64


def test_features_guard_the_width():
    assert StandardNormal((8,), features=8).event_shape == (8,)
    with pytest.raises(ShapeError, match=r"got 128 for a latent of shape \(256,\)"):
        StandardNormal((256,), features=128)


def test_temperature_scales_the_standard_deviation():
    prior = StandardNormal((3,))
    hot, cold = (
        prior.sample(2, temperature=t, generator=torch.Generator().manual_seed(0))
        for t in (1.0, 0.5)
    )
    torch.testing.assert_close(cold, 0.5 * hot)


def test_truncation_is_the_truncated_normal():
    x = StandardNormal((1000,)).sample(50, truncate=1.5, generator=torch.Generator().manual_seed(0))
    assert x.abs().max() <= 1.5
    # Variance of a normal cut at +-a: 1 - 2 a phi(a) / (2 Phi(a) - 1).
    a = 1.5
    density, mass = math.exp(-(a**2) / 2) / math.sqrt(2 * math.pi), math.erf(a / math.sqrt(2))
    assert x.var().item() == pytest.approx(1 - 2 * a * density / mass, abs=0.01)
    assert abs(x.mean().item()) < 0.02
    with pytest.raises(UsageError, match="positive number of sd, got 0"):
        StandardNormal((1,)).sample(1, truncate=0.0)


def test_bits_per_dim_want_bins():
    flow = FlowModel(DataSpec((3,)), bijector=Linear)
    with pytest.raises(NoDensity, match="bin width"):
        flow.bits_per_dim(torch.zeros(1, 3))
    binned = FlowModel(DataSpec((3,), bin_width=1 / 256), bijector=Linear)
    x = torch.randn(4, 3)
    expected = -(binned.log_prob(x).value / (3 * math.log(2))) + 8
    torch.testing.assert_close(binned.bits_per_dim(x), expected)


def test_sample_says_what_is_wrong():
    prior = FlowPrior((3,), bijector=lambda **given: Repeat(**given, times=2, of=Linear))
    with pytest.raises(UsageError, match="told how many"):
        prior.sample()
    with pytest.raises(UsageError, match=r"must be \(3,\), got \(4,\)"):
        prior.sample(2, shape=(4,))
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, 3\), got \(2, 4\)"):
        prior.log_prob(torch.zeros(2, 4))
