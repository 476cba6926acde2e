"""A mixture for each x: its density, and a gradient that is right for the weights too."""

import math

import pytest
import torch
from corekit_vae.posteriors.mixture import GaussianMixture, GaussianMixtureHead

from corekit.errors import UsageError
from corekit.interfaces.draws import Draws

MU = torch.tensor([[-1.0, 0.3], [0.8, -0.5], [0.2, 1.0]], dtype=torch.float64)
LOG_VAR = torch.tensor([[0.0, -0.5], [-0.7, 0.3], [0.2, 0.1]], dtype=torch.float64)
LOGITS = torch.tensor([0.2, -0.4, 0.5], dtype=torch.float64)


def mixture(rows=1):
    return [p.expand(rows, *p.shape).clone().requires_grad_() for p in (MU, LOG_VAR, LOGITS)]


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def reference(q):
    parts = torch.distributions.Normal(q.mu, (q.log_var / 2).exp())
    weights = torch.distributions.Categorical(logits=q.logits)
    return torch.distributions.MixtureSameFamily(weights, torch.distributions.Independent(parts, 1))


def test_the_density_is_that_of_the_mixture():
    q = GaussianMixture(*(torch.randn(4, 3, *s, dtype=torch.float64) for s in ((2,), (2,), ())))
    z, log_q = q.rsample_and_log_prob(seed())
    torch.testing.assert_close(log_q.value, reference(q).log_prob(z), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(q.log_prob(z).value, log_q.value, rtol=1e-10, atol=1e-10)


def test_draws_have_its_mean_and_covariance():
    z, _ = GaussianMixture(*(p.detach() for p in mixture())).rsample_and_log_prob(seed(), 40_000)
    weights = LOGITS.softmax(0)
    mean = weights @ MU
    second = torch.einsum("k,ki,kj->ij", weights, MU, MU) + torch.diag(weights @ LOG_VAR.exp())
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(z.T.cov(), second - torch.outer(mean, mean), rtol=0, atol=0.04)


FUNCTIONS = {
    "square": (lambda z: z[:, 0].square(), lambda m, v: m[:, 0].square() + v[:, 0]),
    "product": (lambda z: z[:, 0] * z[:, 1], lambda m, v: m[:, 0] * m[:, 1]),
    "wave": (
        lambda z: (z[:, 0] + 2 * z[:, 1]).sin(),
        lambda m, v: (m[:, 0] + 2 * m[:, 1]).sin() * (-(v[:, 0] + 4 * v[:, 1]) / 2).exp(),
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_an_expectation_are_right(name):
    function, of_component = FUNCTIONS[name]
    many = mixture(40_000)
    z, _ = GaussianMixture(*many).rsample_and_log_prob(seed())
    found = torch.autograd.grad(function(z).sum(), many)
    one = [p.clone().requires_grad_() for p in (MU, LOG_VAR, LOGITS)]
    value = one[2].softmax(0) @ of_component(one[0], one[1].exp())
    want = torch.autograd.grad(value, one, materialize_grads=True)
    for got, right in zip(found, want, strict=True):
        error = got.std(0) / math.sqrt(len(got))
        assert ((got.mean(0) - right).abs() <= 3.5 * error).all()


def test_the_gradient_of_its_entropy_is_right_through_draw_and_density():
    """d/dw -E[log q(z)], against an integral on a grid in one dimension."""
    one = [p[:, :1].clone().requires_grad_() for p in (MU, LOG_VAR)] + [
        LOGITS.clone().requires_grad_()
    ]
    grid = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    q = GaussianMixture(*(p[None] for p in one)).repeated(len(grid))
    density = q.log_prob(grid).value
    entropy = -torch.trapezoid(density.exp() * density, grid[:, 0])
    want = torch.autograd.grad(entropy, one)
    many = [p.detach().expand(40_000, *p.shape).clone().requires_grad_() for p in one]
    _, log_q = GaussianMixture(*many).rsample_and_log_prob(seed())
    for got, right in zip(torch.autograd.grad(-log_q.value.sum(), many), want, strict=True):
        error = got.std(0) / math.sqrt(len(got))
        assert ((got.mean(0) - right).abs() <= 3.5 * error).all()


def test_one_component_is_a_diagonal_gaussian():
    parts = [torch.randn(6, 1, 3, dtype=torch.float64).requires_grad_() for _ in range(2)]
    z, _ = GaussianMixture(*parts, torch.zeros(6, 1)).rsample_and_log_prob(seed())
    eps = ((z - parts[0][:, 0]) * (-parts[1][:, 0] / 2).exp()).detach()
    mu, log_var = torch.autograd.grad(z.sum(), parts)
    torch.testing.assert_close(mu, torch.ones_like(mu))
    torch.testing.assert_close(log_var[:, 0], eps * (parts[1][:, 0] / 2).exp() / 2)


def test_its_mode_is_the_mean_where_it_is_highest():
    mu = torch.tensor([[[0.0], [0.1], [5.0]]])
    q = GaussianMixture(mu, torch.tensor([[[0.0], [0.0], [0.5]]]), torch.zeros(1, 3))
    assert q.mode.item() in (0.0, pytest.approx(0.1))
    assert not q.exact_mode


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_takes_one_row_and_images_and_far_components(dtype):
    head = GaussianMixtureHead((5,), (2, 3, 3), components=3).to(dtype)
    features = (30 * torch.randn(1, 5, dtype=dtype)).requires_grad_()
    z, log_q = head(features).rsample_and_log_prob(seed())
    assert z.shape == (1, 2, 3, 3)
    assert z.dtype is dtype
    (z.sum() + log_q.value.sum()).backward()
    assert features.grad.isfinite().all()


def test_no_component_is_refused():
    with pytest.raises(UsageError, match="components must be at least 1, got 0"):
        GaussianMixtureHead((5,), (3,), components=0)
