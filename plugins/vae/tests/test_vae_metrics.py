"""Metrics of latents and reconstructions against numbers made elsewhere and cases one can count."""

import math

import numpy as np
import pytest
import torch
from corekit_vae.metrics.factors import Disentanglement, factor_score, information, mig
from corekit_vae.metrics.latents import Latents, active_units, mutual_information
from corekit_vae.metrics.likelihood import Nll
from corekit_vae.metrics.reconstruction import Reconstruction, psnr, ssim

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.records import Batch
from corekit.testing.linear_gaussian import FEATURES, LinearGaussian


@pytest.fixture(scope="module")
def truth(golden_root):
    return np.load(golden_root / "vae" / "truth.npz")


def look_at(x, condition=None):
    return lambda work: [work(Batch(x, condition), RowDraws(0, range(len(x))))]


def test_ssim_golden(truth):
    a, b = (torch.from_numpy(truth[f"ssim/{name}"]).double() for name in "ab")
    for name, pad in (("same", True), ("valid", False)):
        want = torch.from_numpy(truth[f"ssim/{name}"])
        torch.testing.assert_close(ssim(a, b, 1.0, pad=pad), want, rtol=1e-6, atol=1e-6)
    assert ssim(a, a, 1.0).tolist() == pytest.approx([1, 1])


def test_mig_golden(truth):
    codes, factors = truth["dis/codes"], list(truth["dis/factors"].astype(np.int64))
    found = information(codes, factors, 20)
    np.testing.assert_allclose(found, truth["dis/mi"], rtol=1e-10)
    assert mig(codes, factors, 20) == pytest.approx(float(truth["dis/mig"]), abs=1e-10)


def test_active_units_golden(truth):
    mu = torch.from_numpy(truth["mu"]).double()
    count, variance = active_units(mu)
    assert count == int(truth["au/count_0.01"])
    np.testing.assert_allclose(variance.numpy(), truth["au/var_mu"], rtol=1e-10)


def test_the_mutual_information_of_posteriors_that_never_meet_is_the_entropy_of_the_rows():
    mu, log_var = 100 * torch.arange(300.0).double()[:, None], torch.zeros(300, 1).double()
    assert mutual_information(mu, log_var, mu) == pytest.approx(math.log(300))
    assert mutual_information(0 * mu, log_var, torch.randn(300, 1).double()) == pytest.approx(0)


def test_a_collapsed_posterior_is_named_in_words():
    model, x = LinearGaussian(exact=False).model, torch.randn(50, FEATURES).double()
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        found = Latents()(model, look_at(x))
    assert found["active_units"].value == 0
    assert "has collapsed into the prior" in found["active_units"].protocol["note"]
    assert found["kl"].value == pytest.approx(0)
    assert abs(found["mutual_information"].value) < 1e-12


def test_factors_that_single_latents_hold_score_one():
    rng = np.random.default_rng(0)
    factors = [rng.integers(levels, size=4000) for levels in (4, 3, 5)]
    noise = 0.01 * rng.normal(size=4000)
    codes = np.stack([factors[0] + noise, factors[1] * 5.0, -1.0 * factors[2]])
    assert mig(codes, factors) > 0.95
    score, chance = factor_score(codes, factors, votes=200, group=32)
    assert score == 1
    assert chance < 0.45
    turned = np.stack([codes[0] + codes[1], codes[0] - codes[1], codes.sum(0)])
    assert mig(turned, factors) < 0.2


def test_data_without_factors_are_refused():
    model, x = LinearGaussian().model, torch.randn(5, FEATURES).double()
    with pytest.raises(UsageError, match="must come with their factors"):
        Disentanglement()(model, look_at(x))


@pytest.mark.parametrize("metric", [Nll(), Latents(), Disentanglement()])
def test_models_without_latents_are_refused(metric):
    spec = {"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": "toy2d"}
    model = build(spec, data=DataSpec((2,)))
    with pytest.raises(UsageError, match="the model must be a latent one, got FlowModel"):
        metric(model, look_at(torch.randn(3, 2)))


def test_the_likelihood_is_that_of_the_model():
    truth, x = LinearGaussian(), torch.randn(20, FEATURES).double()
    with torch.no_grad():
        found = Nll(samples=10)(truth.model, look_at(x))
    assert found["nats"].value == pytest.approx(-truth.log_prob(x).mean().item())
    assert found["ess"].value == pytest.approx(1)
    assert "bits_per_dim" not in found


def test_psnr_is_ten_decibels_per_factor_ten():
    truth = torch.zeros(2, 1, 4, 4)
    made = truth + torch.tensor([0.1, 0.01]).reshape(2, 1, 1, 1)
    assert psnr(made, truth, 1.0).tolist() == pytest.approx([20, 40])
    assert psnr(truth, truth, 1.0).tolist() == [100, 100]


def test_the_mean_image_stands_beside_the_figures():
    train, x = torch.rand(30, 1, 12, 9), torch.rand(6, 1, 12, 9)
    metric = Reconstruction(data_range=(0.0, 1.0))
    found = metric(x + 0.01, x, train)
    same = metric(train.mean(0, keepdim=True).expand_as(x), x, train)
    assert found.keys() == {"mse", "psnr", "ssim"}
    for name, figure in same.items():
        assert figure.value == pytest.approx(found[name].references["mean_image"])
    assert found["mse"].value == pytest.approx(1e-4, rel=1e-4)
    with pytest.raises(ShapeError, match="both must be images"):
        ssim(x[0], x[0], 1.0)
