"""Noise that is trained with, and taken away again: on Gaussians, where all is known."""

from functools import partial

import pytest
import torch
from corekit_glow.denoising import NoisyFlow, denoised
from corekit_glow.tarflow import Tarflow

from corekit.data_spec import DataSpec
from corekit.errors import NoDensity, UsageError
from corekit.flows.linear import Linear
from corekit.interfaces.draws import Draws, GivenDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch, Condition
from corekit.testing.case import redraw

SIGMA = 0.7
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
FACTOR = torch.tensor([[1.0, 0, 0], [0.5, 0.8, 0], [-0.3, 0.2, 1.1]], dtype=torch.float64)
CLEAN = FACTOR @ FACTOR.T
NOISY = CLEAN + SIGMA**2 * torch.eye(3, dtype=torch.float64)


def perfect(mean=MEAN, noisy=NOISY, sigma=SIGMA):
    """A flow whose density is that of the noisy data."""
    model = NoisyFlow(DataSpec((3,)), bijector=Linear, sigma=sigma).double()
    whitening = torch.linalg.inv(torch.linalg.cholesky(noisy))
    with torch.no_grad():
        model.density.bijector.weight.copy_(whitening)
        model.density.bijector.bias.copy_(-whitening @ mean)
    return model


def posterior_mean(y):
    """E[x | y] of Gaussian x."""
    return MEAN + (y - MEAN) @ torch.linalg.solve(NOISY, CLEAN)


def test_the_model_in_these_tests_is_perfect():
    y = torch.randn(5, 3, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(MEAN, NOISY).log_prob(y)
    torch.testing.assert_close(perfect().density.log_prob(y).value, truth)


@pytest.mark.parametrize("gradient", [True, False])
def test_the_step_is_exact_for_a_gaussian(gradient):
    model, y = perfect(), 3 * torch.randn(6, 3, dtype=torch.float64)
    before = y.clone()
    with torch.set_grad_enabled(gradient):
        x = denoised(model.density, y, SIGMA)
    torch.testing.assert_close(x, posterior_mean(y), rtol=0, atol=1e-12)
    assert torch.equal(y, before)
    assert not any(value.requires_grad for value in (x, y))
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_step_is_exact_for_standardized_data():
    std = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    model = perfect(0 * MEAN, NOISY / (std[:, None] * std))
    model.standardize(MEAN.tolist(), std.tolist())
    y = torch.randn(6, 3, dtype=torch.float64)
    torch.testing.assert_close(
        denoised(model.density, y, SIGMA), posterior_mean(y), rtol=0, atol=1e-6
    )


def test_samples_are_denoised_draws_and_vary_less_than_data():
    model = perfect()
    with torch.no_grad():
        noisy, clean = (
            model.sample(100_000, generator=torch.Generator().manual_seed(0), denoise=which)
            for which in (False, True)
        )
    torch.testing.assert_close(clean, posterior_mean(noisy), rtol=0, atol=1e-12)
    torch.testing.assert_close(noisy.T.cov(), NOISY, rtol=0, atol=0.03)
    # What is known of x from y: less than there is of x, by the variance of x given y.
    torch.testing.assert_close(
        clean.T.cov(), CLEAN @ torch.linalg.solve(NOISY, CLEAN), rtol=0, atol=0.03
    )
    torch.testing.assert_close(clean.mean(0), MEAN, rtol=0, atol=0.02)


def test_it_is_trained_on_noisy_data():
    model, x = perfect(), torch.randn(5, 3, dtype=torch.float64)
    eps = torch.randn(5, 3, dtype=torch.float64)
    terms = model(Batch(x), draws=GivenDraws({"noise": eps}))
    wanted = -model.density.log_prob(x + SIGMA * eps).value
    torch.testing.assert_close(terms.total, wanted)
    assert terms.units == {"noisy_nll": "nats of noisy data"}


def test_noise_of_the_right_size_is_what_the_loss_likes_best():
    x = torch.distributions.MultivariateNormal(MEAN, CLEAN).sample((20_000,))

    def loss(trained_for):
        noisy = CLEAN + trained_for**2 * torch.eye(3, dtype=torch.float64)
        draws = Draws(torch.Generator().manual_seed(1))
        return perfect(noisy=noisy)(Batch(x), draws=draws).total.mean().item()

    entropy = torch.distributions.MultivariateNormal(MEAN, NOISY).entropy().item()
    assert loss(SIGMA) == pytest.approx(entropy, abs=0.03)
    assert loss(SIGMA) < min(loss(0.8 * SIGMA), loss(1.25 * SIGMA))


def test_it_starts_from_noisy_data():
    model = NoisyFlow(
        DataSpec((1, 4, 4)),
        bijector=partial(Tarflow, patch=2, width=8, heads=2, layers=1, blocks=1),
        sigma=2.0,
    )
    model.initialize(Batch(torch.randn(4000, 1, 4, 4)), Draws(torch.Generator().manual_seed(0)))
    norm = model.density.bijector[0]
    assert (-norm.log_scale).exp().item() == pytest.approx(5**0.5, rel=0.02)  # 1 + 2^2


def test_latents_are_decoded_like_samples():
    model, x = perfect(), torch.randn(4, 3, dtype=torch.float64)
    z = model.encode(x)
    torch.testing.assert_close(model.decode(z, denoise=False), x)
    torch.testing.assert_close(model.decode(z), posterior_mean(x))
    torch.testing.assert_close(model.reconstruct(x), posterior_mean(x))
    torch.testing.assert_close(model.interpolate(x, x, 2)[:, 1], posterior_mean(x))


def test_the_condition_of_a_sample_is_that_of_its_step():
    data = DataSpec((1, 4, 4), condition_shapes={"vector": (3,)})
    flow = partial(Tarflow, patch=2, width=8, heads=2, layers=1, blocks=2)
    model = NoisyFlow(data, bijector=flow).double()
    redraw(model)
    condition = Condition(vector=torch.randn(5, 3, dtype=torch.float64))
    noisy, clean = (
        model.sample(5, condition, generator=torch.Generator().manual_seed(0), denoise=which)
        for which in (False, True)
    )
    assert torch.equal(clean, denoised(model.density, noisy, 0.05, condition))
    assert not torch.equal(clean, noisy)


def test_it_claims_no_likelihood_of_the_data():
    model = NoisyFlow(DataSpec((3,), levels=4, bin_width=1.0, lowest=0.0), bijector=Linear)
    assert model.kind is Likelihood.NONE
    for ask in (model.log_prob, model.bits_per_dim):
        with pytest.raises(NoDensity, match=r"got one of data with noise \(0.05\)"):
            ask(torch.zeros(2, 3))
    with pytest.raises(UsageError, match="sigma must be positive, got 0"):
        NoisyFlow(DataSpec((3,)), bijector=Linear, sigma=0)
