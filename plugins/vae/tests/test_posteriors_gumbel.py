"""Gumbel-softmax: the golden relaxation and divergence, and the fall of tau."""

import math

import numpy as np
import pytest
import torch
from corekit_vae.posteriors.gumbel import GumbelHead, GumbelSoftmax
from corekit_vae.priors.categories import UniformCategories

from corekit.data_spec import Support
from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Draws, GivenDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.kl import closed_form_kl


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def one(value=1.0):
    return torch.tensor(value, dtype=torch.float64)


def test_the_divergence_to_uniform_is_the_golden_one(golden_root):
    truth = np.load(golden_root / "vae" / "truth.npz")
    q = GumbelSoftmax(torch.tensor(truth["cat/logits"]), one())
    prior = UniformCategories((24,), categories=4)
    got, want = closed_form_kl(q, prior), torch.tensor(truth["cat/kl_uniform"])
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_relaxed_codes_are_the_golden_ones(golden_root, tau):
    """Those have 1e-7 added inside both logarithms."""
    golden = np.load(golden_root / "vae" / "losses_pytorch_vae.npz")
    key = next(k for k in golden.files if k.endswith(f"gumbel_softmax_t{'05' if tau < 1 else '1'}"))
    logits, u = (torch.tensor(golden[f"cat/{name}"]).double() for name in ("logits", "u"))
    z, log_q = GumbelSoftmax(logits, one(tau)).rsample_and_log_prob(GivenDraws({"gumbel": u}))
    torch.testing.assert_close(z, torch.tensor(golden[key]).double(), rtol=2e-5, atol=2e-5)
    assert log_q.kind is Likelihood.NONE


def test_the_highest_share_is_a_draw_of_the_categories():
    logits = torch.tensor([0.1, 1.0, -0.7], dtype=torch.float64).reshape(1, 1, 3)
    z, _ = GumbelSoftmax(logits, one(0.3)).rsample_and_log_prob(seed(), 40_000)
    counts = torch.bincount(z.argmax(1), minlength=3) / 40_000
    torch.testing.assert_close(counts.double(), logits.softmax(2)[0, 0], rtol=0, atol=0.01)


def test_hard_codes_are_corners_with_the_gradient_of_the_shares():
    logits = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(5, 6, dtype=torch.float64)
    grads = []
    for hard in (True, False):
        z, _ = GumbelSoftmax(logits, one(0.7), hard=hard).rsample_and_log_prob(seed())
        torch.testing.assert_close(z.unflatten(1, (2, 3)).sum(2), torch.ones(5, 2).double())
        grads.append(torch.autograd.grad((weights * z).sum(), logits)[0])
        assert bool(((z - z.round()).abs() < 1e-12).all()) is hard
    torch.testing.assert_close(*grads)


def test_the_relaxed_gradient_of_an_expectation_is_that_of_the_relaxed_law():
    """Of two categories the share is a logistic-normal number, which a grid integrates."""
    tau, start = 0.8, torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    u = (torch.arange(400_000, dtype=torch.float64) + 0.5) / 400_000
    share = ((start + torch.logit(u)) / tau).sigmoid()
    (want,) = torch.autograd.grad(share.square().mean(), start)
    many = start.detach().expand(40_000).clone().requires_grad_()
    logits = torch.stack([many, torch.zeros_like(many)], 1)[:, None]
    z, _ = GumbelSoftmax(logits, one(tau)).rsample_and_log_prob(seed())
    (found,) = torch.autograd.grad(z[:, 0].square().sum(), many)
    assert abs(found.mean() - want) <= 3.5 * found.std() / math.sqrt(40_000)


def test_tau_falls_with_the_steps_and_stops():
    head = GumbelHead((4,), (3,), categories=2, tau=1.0, tau_min=0.5, rate=0.1)
    for step, want in ((0, 1.0), (3, math.exp(-0.3)), (1000, 0.5)):
        head.at_step(step)
        assert head.tau.item() == pytest.approx(want, rel=1e-6)
        assert head(torch.randn(1, 4)).statistics()["tau"].item() == pytest.approx(want, rel=1e-6)
    assert "tau" not in head.state_dict()


def test_latents_are_all_categories_side_by_side_vectors_or_images():
    head = GumbelHead((4,), (3,), categories=5)
    assert (head.latent_shape, head.latent_support) == ((15,), Support.SIMPLEX)
    q = GumbelHead((4, 2, 2), (3, 2, 2), categories=5, hard=True)(torch.randn(1, 4, 2, 2))
    z, _ = q.rsample_and_log_prob(seed())
    assert z.shape == q.mode.shape == (1, 15, 2, 2)
    torch.testing.assert_close(z.unflatten(1, (3, 5)).sum(2), torch.ones(1, 3, 2, 2))
    got = closed_form_kl(q, UniformCategories((15, 2, 2), categories=5))
    torch.testing.assert_close(got, 12 * math.log(5) - q.entropy())


def test_what_makes_no_sense_is_refused():
    with pytest.raises(NoDensity):
        GumbelSoftmax(torch.zeros(1, 1, 2), one()).log_prob(torch.zeros(1, 2))
    with pytest.raises(UsageError, match="tau must be at least tau_min"):
        GumbelHead((4,), (3,), tau=0.1)
    with pytest.raises(UsageError, match="categories must be at least 2, got 1"):
        GumbelHead((4,), (3,), categories=1)
