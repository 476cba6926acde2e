"""Gaussian posteriors with a covariance: densities, divergences and gradients against the truth."""

import math

import numpy as np
import pytest
import torch
from corekit_vae.posteriors.full import FullGaussian, FullGaussianHead
from corekit_vae.posteriors.low_rank import LowRankGaussian, LowRankGaussianHead

from corekit.errors import UsageError
from corekit.flows.bases import Gaussian
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Condition
from corekit.latent.kl import closed_form_kl, kl_of_elements
from corekit.latent.posteriors import DiagonalGaussian


@pytest.fixture(scope="module")
def truth(golden_root):
    found = np.load(golden_root / "vae" / "truth.npz")
    return {name: torch.tensor(found[name]) for name in found.files}


@pytest.fixture(scope="module")
def inputs(golden_root):
    found = np.load(golden_root / "vae" / "losses_pytorch_vae.npz")
    return {name: torch.tensor(found[name]).double() for name in ("mu", "log_var", "z")}


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def low_rank(rows=5, size=6, rank=2):
    parts = (rows, size), (rows, size), (rows, rank, size)
    return LowRankGaussian(*(torch.randn(shape, dtype=torch.float64) for shape in parts))


def reference(q):
    return torch.distributions.LowRankMultivariateNormal(
        q.mu, q.factor.transpose(1, 2), q.log_var.exp()
    )


def exact(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_the_full_gaussian_is_the_golden_one(truth, inputs):
    q = FullGaussian(inputs["mu"], truth["fullcov/L"])
    exact(q.log_prob(truth["fullcov/z"]).value, truth["fullcov/log_q"])
    exact(closed_form_kl(q, StandardNormal((6,))), truth["fullcov/kl_vs_std"])
    covariance = q.scale_tril @ q.scale_tril.transpose(1, 2)
    exact(q.variance(), covariance.diagonal(dim1=1, dim2=2))


def test_diagonal_divergences_are_the_golden_ones(truth, inputs):
    q = DiagonalGaussian(inputs["mu"], inputs["log_var"])
    exact(closed_form_kl(q, StandardNormal((6,))), truth["kl/diag_vs_std"])
    for row in range(len(q.mu)):
        prior = Gaussian((6,)).double()
        with torch.no_grad():
            prior.start.copy_(torch.stack((truth["kl/mu2"][row], truth["kl/log_var2"][row] / 2)))
        exact(closed_form_kl(q, prior)[row], truth["kl/diag_vs_diag"][row])
        exact(kl_of_elements(q, prior).sum(1), closed_form_kl(q, prior))


def test_the_divergence_to_a_conditional_gaussian_is_that_given_the_condition():
    prior = Gaussian((3,), {"vector": (2,)}).double()
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.normal_(std=0.5)
    condition = Condition(vector=torch.randn(4, 2, dtype=torch.float64))
    q = DiagonalGaussian(*torch.randn(2, 4, 3, dtype=torch.float64))
    mean, log_scale = prior.parameters_of(condition)
    want = torch.distributions.kl_divergence(
        torch.distributions.Normal(q.mu, (q.log_var / 2).exp()),
        torch.distributions.Normal(mean, log_scale.exp()),
    ).sum(1)
    exact(closed_form_kl(q, prior, condition), want)


def test_the_low_rank_density_is_that_of_the_whole_covariance():
    q = low_rank()
    z = torch.randn(5, 6, dtype=torch.float64)
    exact(q.log_prob(z).value, reference(q).log_prob(z))
    exact(q.entropy(), reference(q).entropy())
    exact(q.variance(), reference(q).variance)


def test_the_low_rank_density_keeps_its_digits_in_float32():
    q = LowRankGaussian(torch.zeros(1, 4), torch.full((1, 4), -10.0), 3 * torch.ones(1, 1, 4))
    z, log_q = q.rsample_and_log_prob(seed(), 50)
    exact_q = LowRankGaussian(q.mu.double(), q.log_var.double(), q.factor.double()).repeated(50)
    torch.testing.assert_close(
        log_q.value.double(), exact_q.log_prob(z.double()).value, rtol=0, atol=0.02
    )


def test_draws_of_low_rank_have_its_covariance():
    q = low_rank(rows=1, size=3)
    z, _ = q.rsample_and_log_prob(seed(), 40_000)
    want = reference(q).covariance_matrix[0]
    spread = (want.diagonal()[:, None] * want.diagonal() + want.square()).sqrt() / 200
    assert ((z.T.cov() - want).abs() < 4 * spread).all()


@pytest.mark.parametrize("make", [FullGaussian, LowRankGaussian])
def test_gradients_of_an_expectation_are_right(make):
    """E[z^T A z] = mu^T A mu + tr(A S)."""
    rows, size = 40_000, 3
    a = torch.tensor([[1.0, 0.5, 0.0], [0.0, -1.0, 0.3], [0.2, 0.0, 2.0]], dtype=torch.float64)
    shapes = {FullGaussian: ((3,), (3, 3)), LowRankGaussian: ((3,), (3,), (2, 3))}[make]
    start = [torch.randn(shape, dtype=torch.float64) for shape in shapes]
    if make is FullGaussian:
        start[1] = start[1].tril(-1) + torch.eye(size, dtype=torch.float64)
    many = [part.expand(rows, *part.shape).clone().requires_grad_() for part in start]
    z, _ = make(*many).rsample_and_log_prob(seed())
    found = torch.autograd.grad(((z @ a) * z).sum(), many)
    one = [part[None].clone().requires_grad_() for part in start]
    q = make(*one)
    if make is FullGaussian:
        covariance = q.scale_tril[0] @ q.scale_tril[0].T
    else:
        covariance = torch.diag(q.log_var[0].exp()) + q.factor[0].T @ q.factor[0]
    want = torch.autograd.grad(q.mu[0] @ a @ q.mu[0] + (a * covariance.T).sum(), one)
    for got, right in zip(found, want, strict=True):
        error = got.std(0) / math.sqrt(rows)
        assert ((got.mean(0) - right[0]).abs() <= 3.5 * error + 1e-12).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (4,), (2, 2, 2)])
def test_heads_take_one_row_and_latents_of_any_shape(shape, dtype):
    for head in (FullGaussianHead((5,), shape), LowRankGaussianHead((5,), shape, rank=2)):
        q = head.to(dtype)(torch.randn(1, 5, dtype=dtype))
        z, log_q = q.rsample_and_log_prob(seed(), 2)
        assert z.shape == (2, *shape)
        assert z.dtype is log_q.value.dtype is dtype
        again = q.repeated(2).log_prob(z).value
        torch.testing.assert_close(again, log_q.value, rtol=1e-4, atol=1e-4)


def test_the_scale_of_a_full_head_stays_bounded():
    q = FullGaussianHead((5,), (3,))(1e6 * torch.randn(2, 5))
    assert q.scale_tril.diagonal(dim1=1, dim2=2).log().abs().max() <= 5.0001
    assert q.scale_tril.triu(1).eq(0).all()


def test_a_rank_of_none_is_refused():
    with pytest.raises(UsageError, match=r"rank must be at least 1, got 0.*vae\.gaussian"):
        LowRankGaussianHead((5,), (3,), rank=0)
