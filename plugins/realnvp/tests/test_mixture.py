"""Mixture distribution functions, against numbers of 60 digits and against torch's mixtures."""

import math

import pytest
import torch
from corekit_realnvp.mixture import MixtureCdf
from corekit_realnvp.normal_tails import log_ndtr_inverse
from torch.distributions import Categorical, MixtureSameFamily, Normal

from corekit.errors import UsageError
from corekit.testing import parametrize_checks

FILES = {"normal": "gaussian", "logistic": "logistic"}
LATENTS = {
    "uniform": ("z", "log_pdf"),
    "logit": ("logit_z", "logdet_logit"),
    "probit": ("probit_z", "logdet_probit"),
}


@parametrize_checks("univariate", "realnvp.mixture_cdf")
def test_promises(check):
    check()


@parametrize_checks("bijector", "realnvp.mixture_cdf")
def test_promises_of_the_bijector(check):
    check()


@pytest.fixture(params=list(FILES))
def mixture(golden, request):
    arrays = golden(f"mixture_{FILES[request.param]}")
    params = torch.cat([arrays[key] for key in ("loc", "log_scale", "logits")])[None, :, None]
    return request.param, arrays, params


@pytest.mark.parametrize("latent", LATENTS)
def test_values_and_slopes_far_into_both_tails(mixture, latent):
    family, arrays, params = mixture
    x = arrays["x"][None]
    z, log_slope = MixtureCdf(5, family, latent, spread=0).forward(
        x, params.expand(-1, -1, x.shape[1])
    )
    value, slope = (arrays[key] for key in LATENTS[latent])
    torch.testing.assert_close(z[0], value, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(log_slope[0], slope, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("latent", ["logit", "probit"])
def test_tails_in_single_precision(mixture, latent):
    """At 150 every distribution function is 0 or 1; its logit is not."""
    family, arrays, params = mixture
    x = arrays["x"][None]
    z, log_slope = MixtureCdf(5, family, latent, spread=0).forward(
        x.float(), params.float().expand(-1, -1, x.shape[1])
    )
    value, slope = (arrays[key] for key in LATENTS[latent])
    torch.testing.assert_close(z[0].double(), value, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(log_slope[0].double(), slope, rtol=1e-3, atol=2e-3)


def test_inverses_of_probabilities_down_to_the_smallest(mixture):
    family, arrays, params = mixture
    for latent, given, want in (
        ("uniform", "u", "x_of_u"),
        ("logit", "target_logit", "x_of_logit"),
    ):
        target = arrays[given][None]
        x, _ = MixtureCdf(5, family, latent, spread=0).inverse(
            target, params.expand(-1, -1, target.shape[1])
        )
        torch.testing.assert_close(x[0], arrays[want], rtol=1e-10, atol=1e-12)


def test_the_inverse_meets_its_target_to_four_units_in_the_last_place(mixture):
    family, arrays, params = mixture
    u = arrays["logit_z"].float()[None]
    given = params.float().expand(-1, -1, u.shape[1])
    part = MixtureCdf(5, family, "logit", spread=0)
    again, _ = part.forward(part.inverse(u, given)[0], given)
    size = u.abs().clamp(min=1)  # below 1 the logit is a difference of logarithms near 1
    unit = torch.nextafter(size, torch.tensor(math.inf)) - size
    assert ((again - u).abs() / unit).max() <= 4
    u, given = arrays["u"][None], params.expand(-1, -1, len(arrays["u"]))
    part = MixtureCdf(5, family, "uniform", spread=0)
    again, _ = part.forward(part.inverse(u, given)[0], given)
    assert (again - u).abs().max() < 1e-10


@pytest.mark.parametrize("family", list(FILES))
def test_a_mixture_for_every_element(golden, family):
    arrays = golden("mixture_batched")
    keys = ("loc", "log_scale", "logits")
    params = torch.cat([arrays[key].movedim(-1, 1) for key in keys], dim=1)
    z, log_slope = MixtureCdf(5, family, "uniform", spread=0).forward(arrays["x"], params)
    torch.testing.assert_close(z, arrays[f"{FILES[family]}_z"], rtol=1e-10, atol=1e-12)
    want = arrays[f"{FILES[family]}_logdet"]
    torch.testing.assert_close(log_slope.sum(1), want, rtol=1e-10, atol=1e-10)


def test_the_density_is_that_of_the_mixture_and_logits_get_a_gradient():
    """The origin averaged the components' log-densities: no gradient reached the weights."""
    torch.manual_seed(0)
    loc, log_scale, logits = torch.randn(3, 5, dtype=torch.float64)
    params = torch.cat((loc, log_scale, logits))[None, :, None].requires_grad_()
    x = torch.randn(1, 1, dtype=torch.float64)
    z, log_slope = MixtureCdf(5, "normal", "probit", spread=0).forward(x, params)
    log_prob = Normal(0, 1).log_prob(z) + log_slope
    mixture = MixtureSameFamily(Categorical(logits=logits), Normal(loc, log_scale.exp()))
    torch.testing.assert_close(log_prob[0, 0], mixture.log_prob(x[0, 0]))
    (grad,) = torch.autograd.grad(log_prob.sum(), params)
    assert bool((grad[0, 10:].abs() > 1e-6).all())


def test_zero_parameters_are_different_components():
    x, zeros = torch.zeros(1, 1), torch.zeros(1, 12, 1)
    loc, _, _ = MixtureCdf(4)._components(x, zeros)
    assert len(loc.flatten().unique()) == 4
    assert not MixtureCdf(4, spread=0)._components(x, zeros)[0].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_normal_quantile_of_a_logarithm(dtype):
    log_p = -torch.logspace(-6, 5, 200, dtype=dtype)
    log_p = log_p[log_p < math.log(0.6)].requires_grad_()
    z = log_ndtr_inverse(log_p)
    back = torch.special.log_ndtr(z)
    bound = 20 * torch.finfo(dtype).eps
    assert ((back - log_p).abs() / log_p.abs()).max() < bound
    (slope,) = torch.autograd.grad(z.sum(), log_p)
    want = torch.exp(log_p + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)).detach()
    torch.testing.assert_close(slope, want, rtol=1e-2 if dtype is torch.float32 else 1e-6, atol=0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"components": 0}, "components must be at least 1, got 0"),
        ({"family": "gaussian"}, "family must be logistic or normal, got 'gaussian'"),
        ({"latent": "logistic"}, "latent must be logit, probit or uniform, got 'logistic'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        MixtureCdf(**options)


@pytest.mark.parametrize("family", list(FILES))
def test_a_distribution_function_never_exceeds_one(family):
    """Rounding of the weights' sum makes it do so in far tails; a uniform base then fails."""
    torch.manual_seed(0)
    part = MixtureCdf(7, family, "uniform")
    x = torch.linspace(-60, 60, 4001)[None]
    z, log_slope = part.forward(x, 2 * torch.randn(1, 21, 4001))
    assert bool(((z >= 0) & (z <= 1)).all() & log_slope.isfinite().all())
