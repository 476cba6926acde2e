"""Likelihoods against numbers made elsewhere, and against sums and integrals."""

import math

import mpmath
import numpy as np
import pytest
import torch
from corekit_vae.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from corekit_vae.likelihoods.errors import LogCosh, SquaredError
from corekit_vae.likelihoods.gaussian import Gaussian, Laplace
from corekit_vae.likelihoods.levels import Categorical, DiscretizedLogistic, log_bin
from corekit_vae.specs import likelihoods as specs

from corekit.data_spec import DataSpec, Support, pixel_spec
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood

SHAPE = (3, 4, 4)


@pytest.fixture(scope="module")
def truth(golden_root):
    found = np.load(golden_root / "vae" / "truth.npz")
    return {name: torch.from_numpy(np.asarray(found[name])) for name in found.files}


def close(got, want, tolerance=1e-10):
    torch.testing.assert_close(got, want.to(got), rtol=tolerance, atol=tolerance)


def draws():
    return Draws(torch.Generator().manual_seed(0))


def test_bernoulli_golden(truth):
    got = Bernoulli(SHAPE).log_prob(truth["dec/bernoulli_logits"].double(), truth["x"].double())
    close(got.value, truth["dec/bernoulli_from_probs"])


def test_gaussian_golden(truth):
    x, recon = truth["x"].double(), truth["recon"].double()
    close(Gaussian(SHAPE).double().log_prob(recon, x).value, truth["dec/gauss_unit"])


def test_the_optimal_variance_golden(truth):
    x, recon = truth["x"].double(), truth["recon"].double()
    part = Gaussian(SHAPE, variance="optimal").double()
    total, terms = part.loss(recon, x)
    close(total, truth["dec/sigma_vae_nll"])
    assert terms.keys() == {"nll"}
    before = math.exp(2 * part.log_scale.item())
    variance = truth["dec/sigma_vae_opt_var_batch"].item()
    assert before == pytest.approx(1 + 0.01 * (variance - 1))  # one step of the running mean


def test_the_optimal_variance_has_the_gradient_of_the_profile_likelihood():
    part, x = Gaussian((5,), variance="optimal").double(), torch.randn(7, 5).double()
    mean = torch.randn(7, 5).double().requires_grad_()
    (got,) = torch.autograd.grad(part.loss(mean, x)[0].mean(), mean)
    profile = 2.5 * (mean - x).square().mean().log()
    (want,) = torch.autograd.grad(profile, mean)
    close(got, want)


def test_in_evaluation_the_running_variance_is_taken():
    part, x = Gaussian((5,), variance="optimal", scale=0.5), torch.randn(7, 5)
    part.eval()
    total, _ = part.loss(torch.zeros(7, 5), x)
    want = torch.distributions.Normal(0.0, 0.5).log_prob(x).sum(1)
    torch.testing.assert_close(total, -want)
    assert part.log_scale.item() == pytest.approx(math.log(0.5))


def test_the_network_may_give_the_scale():
    part, x = Gaussian((2, 3), variance="network", scale=0.7), torch.randn(4, 2, 3)
    parameters = torch.randn(4, 4, 3)
    scale = torch.nn.functional.softplus(parameters[:, 2:] + math.log(math.expm1(0.7)))
    want = torch.distributions.Normal(parameters[:, :2], scale).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(part.log_prob(parameters, x).value, want)
    zero = torch.zeros(1, 4, 3)
    torch.testing.assert_close(part._log_scale_of(zero).exp(), torch.full((1, 2, 3), 0.7))


def test_discretized_logistic_golden(truth):
    part = DiscretizedLogistic(SHAPE, components=1)
    part.prepare(DataSpec(SHAPE, levels=256, bin_width=1.0, lowest=0.0))
    loc = truth["dec/disclogistic_mean"].double()
    log_scale = truth["dec/disclogistic_log_scale"].double()
    parameters = torch.cat((torch.zeros_like(loc), loc, log_scale), 1)
    x = truth["dec/disclogistic_x255"].double()
    got = part.log_prob(parameters, x).value
    # those numbers come from differences of distribution functions, which cancel in the tails
    close(got, truth["dec/disclogistic_logp"], 1e-8)
    close(-got / (48 * math.log(2)), truth["dec/disclogistic_bpd"], 1e-8)


def test_the_mass_of_a_bin_is_right_to_the_last_digit_in_the_tails():
    with mpmath.workdps(60):
        for k, loc, log_scale in (
            (0, 90.0, -2.0),
            (3, 200.0, 1.0),
            (128, 128.2, -3.0),
            (255, 9, 1),
        ):
            s = mpmath.exp(log_scale)
            upper = 1 if k == 255 else 1 / (1 + mpmath.exp(-(k + mpmath.mpf(0.5) - loc) / s))
            lower = 0 if k == 0 else 1 / (1 + mpmath.exp(-(k - mpmath.mpf(0.5) - loc) / s))
            want = float(mpmath.log(upper - lower))
            numbers = (torch.tensor(float(v), dtype=torch.double) for v in (k, loc, log_scale))
            assert log_bin(*numbers, 256).item() == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("make", [Categorical, DiscretizedLogistic])
def test_the_masses_of_all_levels_add_up_to_one(make):
    part = make((2,), levels=7)
    part.prepare(DataSpec((2,), levels=7, bin_width=0.25, lowest=-0.5))
    parameters = torch.randn(1, *part.parameter_shape).double() * 3
    levels = torch.arange(7)
    mass = torch.stack([part.log_mass(parameters, k.expand(1, 2)) for k in levels]).exp()
    close(mass.sum(0), torch.ones(1, 2))
    x = part.value_of(levels, parameters)
    assert part.level_of(x).tolist() == levels.tolist()
    mean = (mass * x[:, None, None]).sum(0)
    close(part.mean(parameters), mean)
    log_p = part.log_prob(parameters, x[3].expand(1, 2)).value
    close(log_p, mass[3].log().sum(1) - 2 * math.log(0.25))


def test_far_tails_of_the_discretized_logistic_are_finite_with_gradients():
    part = DiscretizedLogistic((1,), components=1)
    parameters = torch.tensor([[0.0, 1.0, -7.0], [0.0, -300.0, -7.0]]).requires_grad_()
    value = part.log_prob(parameters, torch.tensor([[-1.0], [1.0]])).value
    value.sum().backward()
    assert value.isfinite().all()
    assert parameters.grad.isfinite().all()


def test_log_cosh_golden(truth):
    part = LogCosh((64,))
    residual = truth["logcosh/resid"].double()[None]
    each = torch.stack(
        [LogCosh((1,)).loss(torch.zeros(1, 1), r[None, None])[0] for r in residual[0]]
    )
    wanted = truth["logcosh/a10"].double()
    close(each.flatten().double(), wanted, 1e-6)
    close(part.loss(torch.zeros(1, 64).double(), residual)[0], wanted.mean()[None])
    assert LogCosh((1,), sharpness=100).loss(torch.zeros(1, 1), torch.ones(1, 1))[0].isfinite()


def test_the_continuous_bernoulli_integrates_to_one():
    part = ContinuousBernoulli((1,))
    x = torch.linspace(0, 1, 20_001).double()[:, None]
    for logit in (-30.0, -0.5, -0.011, -0.009, 0.0, 0.005, 2.0, 12.0):
        density = part.log_prob(torch.full_like(x, logit), x).value.exp()
        assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-5)
        mean = torch.trapezoid(density * x[:, 0], x[:, 0]).item()
        assert part.mean(torch.full((1, 1), logit).double()).item() == pytest.approx(mean, abs=1e-5)


def test_the_continuous_bernoulli_is_that_of_torch():
    logits, x = torch.randn(9, 3).double() * 5, torch.rand(9, 3).double()
    want = torch.distributions.ContinuousBernoulli(logits=logits).log_prob(x).sum(1)
    close(ContinuousBernoulli((3,)).log_prob(logits, x).value, want)


def test_laplace_is_that_of_torch():
    mean, x = torch.randn(9, 3).double(), torch.randn(9, 3).double()
    want = torch.distributions.Laplace(mean, 0.3).log_prob(x).sum(1)
    part = Laplace((3,), scale=0.3).double()
    close(part.log_prob(mean, x).value, want, 1e-7)  # the scale is kept in float32
    drawn = part.sample(mean[:1].expand(40_000, 3), 1.0, draws())
    assert (drawn - mean[:1]).abs().mean().item() == pytest.approx(0.3, rel=0.02)


def test_squared_errors_are_means_or_sums():
    raw, x = torch.randn(4, 3, 2), torch.rand(4, 3, 2)
    squares = (raw.tanh() - x).square().flatten(1)
    mean, terms = SquaredError((3, 2), output="tanh").loss(raw, x)
    torch.testing.assert_close(mean, squares.mean(1))
    assert terms.keys() == {"mse"}
    total, _ = SquaredError((3, 2), reduction="sum", output="tanh").loss(raw, x)
    torch.testing.assert_close(total, squares.sum(1))


def test_gray_values_have_a_cross_entropy_but_no_likelihood():
    part = Bernoulli((3,), gray=True)
    assert part.kind is Likelihood.NONE
    loss, terms = part.loss(torch.zeros(1, 3), torch.full((1, 3), 0.5))
    assert loss.item() == pytest.approx(3 * math.log(2))
    assert terms.keys() == {"cross_entropy"}


def test_data_must_be_what_the_likelihood_is_of():
    gray, wide = pixel_spec((1, 2, 2), (0.0, 1.0)), pixel_spec((1, 2, 2), (-1.0, 1.0))
    with pytest.raises(UsageError, match="must have 2 levels, 0 and 1, got 256"):
        Bernoulli((1, 2, 2)).prepare(gray)
    Bernoulli((1, 2, 2), gray=True).prepare(gray)
    Bernoulli((1, 2, 2)).prepare(pixel_spec((1, 2, 2), (0.0, 1.0), bits=1))
    ContinuousBernoulli((1, 2, 2)).prepare(gray)
    with pytest.raises(UsageError, match=r"must lie in \[0, 1\], got support 'real', black -1"):
        ContinuousBernoulli((1, 2, 2)).prepare(wide)
    with pytest.raises(
        UsageError, match="must have 256 levels, as the likelihood says, got no levels"
    ):
        Categorical((1, 2, 2)).prepare(DataSpec((1, 2, 2), support=Support.REAL))


@pytest.mark.parametrize(
    "part",
    [
        Gaussian(SHAPE, variance="network"),
        DiscretizedLogistic(SHAPE, components=2),
        Categorical(SHAPE, levels=5),
        Bernoulli(SHAPE),
    ],
    ids=lambda part: type(part).__name__,
)
def test_specs_know_what_a_network_must_give(part):
    options = {"variance": "network"} if isinstance(part, Gaussian) else {}
    options |= {"components": 2} if isinstance(part, DiscretizedLogistic) else {}
    options |= {"levels": 5} if isinstance(part, Categorical) else {}
    spec = getattr(specs, f"{type(part).__name__}Spec")(**options)
    assert spec.parameter_shape(SHAPE) == part.parameter_shape
