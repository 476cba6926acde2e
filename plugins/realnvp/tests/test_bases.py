"""A mixture's distribution function over its base has the density of the mixture."""

from functools import partial

import pytest
import torch
from corekit_realnvp.mixture import MixtureCdfBijector
from torch.distributions import (
    Categorical,
    MixtureSameFamily,
    Normal,
    SigmoidTransform,
    TransformedDistribution,
)
from torch.distributions import (
    Uniform as TorchUniform,
)

from corekit.flows.bases import Logistic, Uniform
from corekit.flows.prior import FlowPrior, StandardNormal

BASES = {"uniform": Uniform, "logit": Logistic, "probit": StandardNormal}


def _law(family, loc, scale):
    if family == "normal":
        return Normal(loc, scale)
    logit = [SigmoidTransform().inv, torch.distributions.AffineTransform(loc, scale)]
    return TransformedDistribution(TorchUniform(torch.zeros_like(loc), 1), logit)


@pytest.mark.parametrize("family", ["normal", "logistic"])
@pytest.mark.parametrize("latent", BASES)
def test_the_density_is_that_of_the_mixture(family, latent):
    torch.manual_seed(0)
    bijector = partial(MixtureCdfBijector, components=3, family=family, latent=latent, spread=0)
    prior = FlowPrior((2,), bijector=bijector, base=BASES[latent]).double()
    torch.nn.init.normal_(prior.bijector.params)
    loc, log_scale, logits = prior.bijector.params.detach().reshape(3, 3, 2).mT
    each = _law(family, loc, log_scale.exp())
    x = torch.randn(50, 2, dtype=torch.float64)
    log_parts = each.log_prob(x[..., None]) + torch.log_softmax(logits, dim=1)
    want = log_parts.logsumexp(2).sum(1)
    torch.testing.assert_close(prior.log_prob(x).value, want, rtol=1e-10, atol=1e-10)
    if family == "normal":
        mixture = MixtureSameFamily(Categorical(logits=logits), each)
        torch.testing.assert_close(want, mixture.log_prob(x).sum(1))


@pytest.mark.parametrize("latent", BASES)
def test_far_points_in_single_precision(latent):
    """The uniform latent is 1 from 6 standard deviations on; its base must not say -inf there."""
    bijector = partial(MixtureCdfBijector, components=2, family="normal", latent=latent, spread=0)
    prior = FlowPrior((1,), bijector=bijector, base=BASES[latent])
    x = torch.tensor([[-30.0], [8.0], [30.0]])
    want = Normal(0.0, 1.0).log_prob(x)[:, 0]
    torch.testing.assert_close(prior.log_prob(x).value, want, rtol=1e-4, atol=1e-3)
    samples = prior.sample(5000, generator=torch.Generator().manual_seed(0))
    assert samples.isfinite().all()
    assert abs(samples.std().item() - 1) < 0.05
