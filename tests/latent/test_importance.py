"""log p(x) by importance sampling, on a model whose log p(x) is known."""

import pytest
import torch

from corekit.errors import NoDensity, UsageError
from corekit.interfaces.draws import Draws, RowDraws
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.elbo import WeightedElbo
from corekit.latent.importance import importance_log_prob
from corekit.testing.linear_gaussian import FEATURES, LinearGaussian


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def test_with_the_exact_posterior_every_draw_tells_the_truth():
    truth, x = LinearGaussian(), torch.randn(7, FEATURES).double()
    found = importance_log_prob(truth.model, x, samples=11, at_once=4, generator=draws())
    torch.testing.assert_close(found.log_p.value, truth.log_prob(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found.ess, torch.full((7,), 11.0).double())
    assert found.log_p.kind is Likelihood.WEIGHT


def test_the_mean_weight_is_unbiased():
    truth, x = LinearGaussian(exact=False), torch.randn(1, FEATURES).double()
    exact = truth.log_prob(x).exp().item()
    one = importance_log_prob(truth.model, x.expand(40_000, -1), samples=1, generator=draws())
    weights = one.log_p.value.exp()
    error = weights.std().item() / len(weights) ** 0.5
    assert abs(weights.mean().item() - exact) < 4 * error


def test_it_rises_with_the_draws_and_does_not_depend_on_how_many_go_at_once():
    truth, x = LinearGaussian(exact=False), torch.randn(400, FEATURES).double()
    exact = truth.log_prob(x).mean().item()
    gaps = []
    for samples in (1, 5, 50, 2000):
        found = importance_log_prob(truth.model, x, samples=samples, generator=draws())
        gaps.append(exact - found.log_p.value.mean().item())
        assert (found.ess <= samples + 1e-9).all()
        assert (found.ess >= 1 - 1e-9).all()
    assert gaps[:3] == sorted(gaps[:3], reverse=True)
    assert abs(gaps[-1]) < 0.01
    x = x[:5]
    whole = importance_log_prob(
        truth.model, x, samples=30, at_once=30, generator=RowDraws(0, range(5))
    )
    row = importance_log_prob(
        truth.model, x[3:4], samples=30, at_once=30, generator=RowDraws(0, [3])
    )
    torch.testing.assert_close(row.log_p.value, whole.log_p.value[3:4])


def test_weights_that_are_none_are_refused():
    truth = LinearGaussian()
    truth.model.kind = Likelihood.BOUND
    x = torch.randn(2, FEATURES).double()
    with pytest.raises(NoDensity, match="got a model of kind 'bound'"):
        importance_log_prob(truth.model, x)
    truth.model.kind = Likelihood.NONE
    truth.model.loss = WeightedElbo(kl_weight=2.0)
    with pytest.raises(NoDensity, match="take the mean log_prob instead"):
        importance_log_prob(truth.model, x)
    with pytest.raises(UsageError, match="samples and at_once must be at least 1"):
        importance_log_prob(LinearGaussian().model, x, samples=0)
