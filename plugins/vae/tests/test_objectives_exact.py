"""Objectives on models in which everything is known: bounds, and unbiased gradients."""

import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from corekit_vae.objectives.elbo import Elbo
from corekit_vae.objectives.iwae import Iwae
from corekit_vae.objectives.mmd import Mmd
from stored_latent import StoredEncoder, arrays

from corekit.data_spec import DataSpec
from corekit.errors import NoDensity, UsageError
from corekit.flows.bases import Gaussian
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws, GivenDraws, RowDraws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Batch, Condition
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian, Point
from corekit.nn.mlp import Mlp
from corekit.testing.linear_gaussian import FEATURES, LinearEncoder, LinearGaussian

EXACT = {"rtol": 0, "atol": 1e-10}


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed))


def expect_mean(values, wanted, errors=3.0):
    """The mean over the rows ``(N, ...)`` is ``wanted``, within so many standard errors."""
    error = values.std(0) / math.sqrt(len(values))
    off = (values.mean(0) - wanted).abs() / error
    assert (off < errors).all(), off.max()
    assert len(values) > 400


@pytest.fixture(scope="module")
def ppca(golden_root):
    return arrays(golden_root, "truth")


@pytest.mark.parametrize(
    "loss", [Elbo(kl="draw"), Iwae(samples=1), Iwae(samples=4), Iwae(samples=3, groups=2)]
)
def test_with_the_exact_posterior_every_draw_gives_the_likelihood(loss):
    truth = LinearGaussian()
    x = truth.truth.sample((20,))
    found = -loss(truth.model, Batch(x), draws()).total
    torch.testing.assert_close(found, truth.log_prob(x), **EXACT)


@pytest.mark.parametrize("kl", ["auto", "monte_carlo", "draw"])
def test_every_form_of_the_kl_is_unbiased(kl):
    truth = LinearGaussian(exact=False)
    x = torch.linspace(-1, 1, FEATURES, dtype=torch.float64)[None]
    exact = Elbo()(truth.model, Batch(x), draws()).terms["kl"]
    with torch.no_grad():
        terms = Elbo(kl=kl)(truth.model, Batch(x.expand(200_000, -1)), draws(1))
    if kl == "auto":
        torch.testing.assert_close(terms.terms["kl"], exact.expand(200_000), **EXACT)
    else:
        expect_mean(terms.terms["kl"], exact)


def test_the_bound_is_tighter_with_more_draws():
    truth = LinearGaussian(exact=False)
    x = truth.truth.sample((4,)).repeat(2500, 1)
    gaps = []
    for samples in (1, 2, 5, 20):
        with torch.no_grad():
            total = Iwae(samples=samples)(truth.model, Batch(x), draws()).total
        gaps.append(truth.log_prob(x) + total)
    for wide, narrow in pairwise(gaps):
        gain = wide - narrow
        assert gain.mean() > 3 * gain.std() / math.sqrt(len(gain))
    assert gaps[-1].mean() > -3 * gaps[-1].std() / math.sqrt(len(x))  # never above log p(x)
    assert gaps[-1].mean() < 0.25 * gaps[0].mean()


# -- gradients -----------------------------------------------------------------------------------


class Linear(GaussianDecoder):
    """N(W z + b, I)."""

    def __init__(self, event_shape, latent_shape, w, b):
        super().__init__(event_shape, latent_shape, hidden=())
        self.network[0].weight, self.network[0].bias = map(torch.nn.Parameter, (w, b))


def of_golden(ppca, loss):
    """The model of the golden file, whose posterior is one of its own for each row."""
    return LatentModel(
        DataSpec((10,)),
        encoder=lambda **given: StoredEncoder(mu=ppca["mu"], log_var=ppca["log_var"], **given),
        decoder=lambda **given: Linear(w=ppca["ppca/W"], b=ppca["ppca/b"], **given),
        prior=StandardNormal,
        loss=loss,
    ).double()


@pytest.mark.parametrize("estimator", ["plain", "stl", "dreg"])
def test_the_three_gradients_are_those_of_the_golden_file(ppca, estimator):
    model = of_golden(ppca, Iwae(samples=5, estimator=estimator))
    z = ppca["iw/z"].transpose(0, 1)
    eps = ((z - ppca["mu"]) * (-0.5 * ppca["log_var"]).exp()).flatten(0, 1)
    total = model(Batch(ppca["ppca/x"]), draws=GivenDraws({"z": eps})).total
    torch.testing.assert_close(-total.sum(), ppca["ppca/iw_bound_sum"], **EXACT)
    (-total.sum()).backward()
    name = {"plain": "iwae"}.get(estimator, estimator)
    for part in ("mu", "log_var"):
        found = getattr(model.encoder, part).grad
        torch.testing.assert_close(found, ppca[f"ppca/grad_{name}_{part}"], **EXACT)
    weight = model.decoder.network[0].weight.grad
    torch.testing.assert_close(weight, ppca["ppca/grad_iwae_W"], **EXACT)


class Correlated(Posterior):
    """A Gaussian with a covariance matrix."""

    def __init__(self, mean, cov):
        self.of = torch.distributions.MultivariateNormal(mean, cov)

    def rsample_and_log_prob(self, draws, k=1):
        eps = draws.normal("z", (k * len(self.mode), self.mode.shape[1]), self.mode)
        z = self.mode.repeat(k, 1) + eps @ self.of.scale_tril[0].T
        return z, LogProb(self.of.log_prob(z.unflatten(0, (k, -1))).flatten())

    def log_prob(self, z):
        return LogProb(self.of.log_prob(z))

    @property
    def mode(self):
        return self.of.mean


class Exact(Encoder):
    """The exact posterior of the golden file, whose elements are correlated."""

    def __init__(self, event_shape, golden):
        super().__init__()
        self.event_shape, self.latent_shape, self.golden = tuple(event_shape), (6,), golden

    def _forward(self, x, condition):
        return Correlated(self.golden["ppca/post_mean"], self.golden["ppca/post_cov"])


@pytest.mark.parametrize("loss", [Elbo(kl="draw"), Iwae(samples=3, groups=2)])
def test_the_likelihood_of_the_golden_file(ppca, loss):
    model = of_golden(ppca, loss)
    model.encoder = Exact((10,), ppca)
    found = -model(Batch(ppca["ppca/x"]), draws=draws()).total
    torch.testing.assert_close(found, ppca["ppca/log_px"], **EXACT)


class Rows(Encoder):
    """The same posterior for many rows, whose parameters get a gradient in each row."""

    def __init__(self, event_shape, n):
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), (2,)
        self.mu = torch.nn.Parameter(torch.tensor([0.4, -0.3]).repeat(n, 1))
        self.log_var = torch.nn.Parameter(torch.tensor([-0.5, 0.2]).repeat(n, 1))

    def _forward(self, x, condition):
        return DiagonalGaussian(self.mu, self.log_var)


def gradients(estimator, samples, n=10_000, seed=0, groups=1):
    """Of minus the bound with respect to mu and log_var, ``(n, 4)``: n independent estimates."""
    truth = LinearGaussian(exact=False)
    x = torch.linspace(-1, 1.5, FEATURES, dtype=torch.float64).expand(n, -1)
    truth.model.encoder = Rows((FEATURES,), n).double()
    loss = Iwae(samples=samples, groups=groups, estimator=estimator)
    loss(truth.model, Batch(x), draws(seed)).total.sum().backward()
    encoder = truth.model.encoder
    return torch.cat([encoder.mu.grad, encoder.log_var.grad], dim=1)


@pytest.mark.parametrize(("samples", "groups"), [(1, 1), (3, 1), (10, 1), (3, 2)])
def test_dreg_is_unbiased(samples, groups):
    plain, dreg = (
        gradients(e, samples, seed=s, groups=groups) for e, s in (("plain", 1), ("dreg", 2))
    )
    error = ((plain.var(0) + dreg.var(0)) / len(plain)).sqrt()
    assert ((dreg.mean(0) - plain.mean(0)).abs() < 3 * error).all()


def test_dreg_has_less_noise_than_the_plain_gradient_and_stl_is_biased_beyond_one_draw():
    plain, stl, dreg = (gradients(e, 10, seed=3) for e in ("plain", "stl", "dreg"))
    assert (dreg.var(0) < 0.8 * plain.var(0)).all()
    error = ((plain.var(0) + stl.var(0)) / len(plain)).sqrt()
    assert ((stl.mean(0) - plain.mean(0)).abs() > 10 * error).all()
    one, sticking = (gradients(e, 1, seed=s) for e, s in (("plain", 4), ("stl", 5)))
    error = ((one.var(0) + sticking.var(0)) / len(one)).sqrt()
    assert ((sticking.mean(0) - one.mean(0)).abs() < 3 * error).all()


def test_sticking_the_landing_has_no_noise_at_the_exact_posterior():
    truth = LinearGaussian()
    x = truth.truth.sample((5,))
    for estimator in ("stl", "dreg"):
        loss = Iwae(samples=3, estimator=estimator)
        loss(truth.model, Batch(x), draws()).total.sum().backward()
        for parameter in truth.model.encoder.parameters():
            torch.testing.assert_close(parameter.grad, torch.zeros_like(parameter), **EXACT)
            parameter.grad = None


def conditional(loss):
    """Prior and decoder are told a vector."""
    torch.manual_seed(0)
    return LatentModel(
        DataSpec((FEATURES,), condition_shapes={"vector": (3,)}),
        encoder=LinearEncoder,
        decoder=GaussianDecoder,
        prior=lambda **given: Gaussian(**given, net=partial(Mlp, zero_last=False)),
        conditional=("prior", "decoder"),
        loss=loss,
    ).double()


@pytest.mark.parametrize("loss", [Iwae(samples=3, groups=2), Elbo(), Mmd()])
def test_each_draw_has_the_condition_of_its_row(loss):
    model = conditional(loss)
    x, told = torch.randn(4, FEATURES).double(), torch.randn(4, 3).double()
    whole = model(Batch(x, Condition(told)), draws=RowDraws(0, range(4)))
    for row in range(4):
        one = Batch(x[row : row + 1], Condition(told[row : row + 1]))
        alone = model(one, draws=RowDraws(0, [row])).terms
        for name, value in alone.items():
            torch.testing.assert_close(value[0], whole.terms[name][row], **EXACT)
    other = model(Batch(x, Condition(told + 1)), draws=RowDraws(0, range(4)))
    assert (other.total - whole.total).abs().min() > 1e-3
    if isinstance(loss, Mmd):
        assert other.batch_terms["mmd"] != whole.batch_terms["mmd"]


# -- what is no weight -----------------------------------------------------------------------------


class Bound(GaussianDecoder):
    kind = Likelihood.BOUND


class ToPoint(Encoder):
    kind = Likelihood.NONE

    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), (2,)

    def _forward(self, x, condition):
        return Point(x[:, :2])


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"decoder": Bound}, "must be exact or weights, got 'bound'"),
        ({"encoder": ToPoint}, "got 'none'"),
        ({"prior": None}, "got 'none'"),
    ],
)
def test_an_importance_weight_must_be_one(parts, words):
    usual = {"encoder": ToPoint, "decoder": GaussianDecoder, "prior": StandardNormal}
    if "encoder" not in parts:
        usual["encoder"] = lambda event_shape: Rows(event_shape, 3)
    with pytest.raises(NoDensity, match=words):
        LatentModel(DataSpec((5,)), **{**usual, **parts}, loss=Iwae())


def test_an_estimator_needs_a_posterior_that_can_be_taken_apart():
    class Other(DiagonalGaussian):
        detached = repeated = lambda self, *_: DiagonalGaussian.__mro__[1].detached(self)

    class Others(Rows):
        def _forward(self, x, condition):
            return Other(self.mu, self.log_var)

    model = LinearGaussian().model
    model.encoder = Others((FEATURES,), 3).double()
    x = torch.zeros(3, FEATURES, dtype=torch.float64)
    Iwae()(model, Batch(x), draws())
    with pytest.raises(UsageError, match="Use the estimator 'plain'"):
        Iwae(estimator="stl")(model, Batch(x), draws())
