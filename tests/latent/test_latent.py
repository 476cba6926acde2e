"""The latent model against probabilistic PCA, where everything is known."""

import math

import pytest
import torch

from corekit.build import build as built
from corekit.data_spec import DataSpec
from corekit.errors import NoDensity, UsageError
from corekit.flows.linear import Linear
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.draws import Draws, GivenDraws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood, importance_bound
from corekit.interfaces.records import Batch, Condition
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.elbo import WeightedElbo
from corekit.latent.fitting import PriorLoss
from corekit.latent.kl import closed_form_kl, kl_unit
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian, Point
from corekit.spec import run_spec

SCALE = 0.7


class LinearEncoder(Encoder):
    """q(z | x) = N(A x + a, diag(exp(log_var)))."""

    def __init__(self, event_shape, latent=2, point=False):
        super().__init__()
        self.event_shape, self.latent_shape = event_shape, (latent,)
        self.mu = torch.nn.Linear(event_shape[0], latent)
        self.log_var = torch.nn.Parameter(torch.zeros(latent))
        self.point = point
        self.kind = Likelihood.NONE if point else Likelihood.EXACT

    def _forward(self, x, condition):
        mu = self.mu(x)
        return Point(mu) if self.point else DiagonalGaussian(mu, self.log_var.expand_as(mu))


def decoder(**given):
    return GaussianDecoder(**given, hidden=(), scale=SCALE)


@pytest.fixture
def pca():
    """x = W z + b + noise with orthogonal columns, its exact encoder, and its marginal."""
    torch.manual_seed(0)
    model = LatentModel(
        DataSpec((5,)), encoder=LinearEncoder, decoder=decoder, prior=StandardNormal
    )
    model = model.double()
    w = torch.linalg.qr(torch.randn(5, 2, dtype=torch.float64))[0] * torch.tensor([1.5, 0.8])
    b = torch.randn(5, dtype=torch.float64)
    variance = 1 / (1 + w.square().sum(0) / SCALE**2)  # of z given x
    with torch.no_grad():
        model.decoder.network[0].weight.copy_(w)
        model.decoder.network[0].bias.copy_(b)
        a = variance[:, None] * w.T / SCALE**2
        model.encoder.mu.weight.copy_(a)
        model.encoder.mu.bias.copy_(-a @ b)
        model.encoder.log_var.copy_(variance.log())
        model.decoder.log_scale.fill_(math.log(SCALE))  # in float64
    eye = torch.eye(5, dtype=torch.float64)
    return model, torch.distributions.MultivariateNormal(b, w @ w.T + SCALE**2 * eye)


def test_elbo_with_the_exact_posterior_is_the_likelihood(pca):
    model, truth = pca
    x = truth.sample((20,))
    got = model.log_prob(x, generator=torch.Generator().manual_seed(0))
    assert got.kind is Likelihood.WEIGHT
    # Every draw of z, whatever it is, gives log p(x).
    torch.testing.assert_close(got.value, truth.log_prob(x), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kl", ["auto", "monte_carlo"])
def test_mean_training_loss_with_the_exact_posterior_is_the_likelihood(pca, kl):
    model, truth = pca
    model.loss.kl = kl
    x = truth.sample((5,))
    loss = model(Batch(x.repeat(20_000, 1)), draws=torch.Generator().manual_seed(0)).total
    mean = loss.reshape(20_000, 5).mean(0)
    torch.testing.assert_close(-mean, truth.log_prob(x), rtol=0, atol=0.05)


def test_elbo_with_another_posterior_is_below_and_importance_weights_tighten_it(pca):
    model, truth = pca
    with torch.no_grad():
        model.encoder.log_var.add_(0.5)
        model.encoder.mu.bias.add_(0.3)
    x, g = truth.sample((200,)), torch.Generator().manual_seed(0)
    exact = truth.log_prob(x).mean()
    elbo = model.log_prob(x, generator=g).value.mean()
    _, log_q, log_joint = model.infer(x, 64, generator=g)
    tight = importance_bound(log_joint - log_q, 64).value.mean()
    assert elbo < exact - 0.1
    assert abs(tight - exact) < 0.05


def test_samples_have_the_moments_of_the_marginal(pca):
    model, truth = pca
    x = model.sample(40_000, generator=torch.Generator().manual_seed(0))
    spread = truth.covariance_matrix.diagonal().sqrt()
    assert ((x.mean(0) - truth.mean) / spread).abs().max() < 0.02
    assert ((x.T.cov() - truth.covariance_matrix) / torch.outer(spread, spread)).abs().max() < 0.03


def test_closed_form_kl_equals_monte_carlo():
    torch.manual_seed(0)
    q = DiagonalGaussian(torch.randn(3, 4).double(), torch.randn(3, 4).double())
    prior = StandardNormal((4,))
    z, log_q = q.rsample_and_log_prob(Draws(torch.Generator().manual_seed(0)), 20_000)
    estimate = (log_q.value - prior.log_prob(z).value).reshape(20_000, 3).mean(0)
    torch.testing.assert_close(closed_form_kl(q, prior), estimate, rtol=0.03, atol=0.03)
    assert closed_form_kl(q, FlowPrior((4,), bijector=Linear)) is None


def test_posterior_density_and_entropy_against_torch():
    mu, log_var = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    q = DiagonalGaussian(mu, log_var)
    truth = torch.distributions.Normal(mu, (0.5 * log_var).exp())
    z, log_q = q.rsample_and_log_prob(Draws(torch.Generator().manual_seed(0)), 2)
    expected = truth.log_prob(z.reshape(2, 3, 4)).sum(-1).reshape(6)
    torch.testing.assert_close(log_q.value, expected)
    torch.testing.assert_close(q.log_prob(z[:3]).value, expected[:3])
    torch.testing.assert_close(q.entropy(), truth.entropy().sum(-1))


def test_posterior_stays_in_single_precision():
    q = DiagonalGaussian(torch.zeros(1, 2).bfloat16(), torch.zeros(1, 2).bfloat16())
    assert q.rsample_and_log_prob(Draws())[0].dtype == torch.float32


@pytest.fixture
def batch():
    return Batch(torch.randn(6, 5, generator=torch.Generator().manual_seed(1)))


def build(loss=None, prior=StandardNormal, point=False):
    torch.manual_seed(0)
    return LatentModel(
        DataSpec((5,)),
        encoder=lambda **given: LinearEncoder(**given, point=point),
        decoder=decoder,
        prior=prior,
        loss=loss,
    )


def given():
    return GivenDraws({"z": torch.randn(6, 2, generator=torch.Generator().manual_seed(2))})


def test_kl_weight_scales_the_kl(batch):
    one, two = (build(WeightedElbo(kl_weight=w))(batch, draws=given()) for w in (0.0, 3.0))
    torch.testing.assert_close(two.total - one.total, 3 * two.terms["kl"])
    torch.testing.assert_close(one.total, one.terms["reconstruction_nll"])
    assert two.units == {"reconstruction_nll": "nats", "kl": "nats"}


def test_warm_up_is_linear_in_steps(batch):
    model = build(WeightedElbo(kl_weight=2.0, warmup_steps=10))
    weights = []
    for step in (0, 5, 10, 20):
        model.at_step(step)
        weights.append(model.loss.beta.item())
    assert weights == pytest.approx([0.0, 1.0, 2.0, 2.0])
    assert "loss.beta" not in model.state_dict()


def test_free_bits_cost_nothing_below_their_number(batch):
    model = build(WeightedElbo(free_bits=100.0))
    terms = model(batch, draws=given())
    torch.testing.assert_close(terms.total, terms.terms["reconstruction_nll"] + 100.0)
    terms.total.mean().backward()
    few = build(WeightedElbo(free_bits=1e-3))(batch, draws=given())
    torch.testing.assert_close(few.total, few.terms["reconstruction_nll"] + few.terms["kl"])


def test_auto_encoder_has_no_prior_and_no_nats(batch):
    model = build(prior=None, point=True)
    terms = model(batch)
    assert set(terms.terms) == {"reconstruction_nll"}
    with pytest.raises(NoDensity, match="it has no prior"):
        model.log_prob(batch.x)
    with pytest.raises(UsageError, match="Use reconstruct"):
        model.sample(2)
    assert model.reconstruct(batch.x).shape == (6, 5)


def test_a_point_posterior_has_no_nats_even_with_a_prior(batch):
    with pytest.raises(NoDensity, match="posterior is a point"):
        build(point=True).log_prob(batch.x)


@pytest.mark.parametrize("name", ["kl_weight", "warmup_steps", "free_bits"])
def test_negative_weights_are_refused(name):
    with pytest.raises(UsageError, match=f"{name} must be at least 0, got -1"):
        WeightedElbo(**{name: -1})


def test_learned_scale_of_the_decoder_gets_a_gradient(batch):
    torch.manual_seed(0)
    density = GaussianDecoder((5,), (2,), learn_scale=True)
    from corekit.interfaces.records import Condition

    loss = density.loss(batch.x, Condition(vector=torch.randn(6, 2))).total.mean()
    loss.backward()
    assert density.log_scale.grad.abs() > 0
    assert density.mean(Condition(vector=torch.zeros(3, 2))).shape == (3, 5)
    with pytest.raises(UsageError, match="scale must be positive, got 0"):
        GaussianDecoder((5,), (2,), scale=0)


def test_a_prior_without_a_density_gives_no_nats(pca):
    model, _ = pca
    draws = Draws(torch.Generator().manual_seed(0))
    assert kl_unit(model.prior) == "nats"
    batch = Batch(torch.randn(3, 5, dtype=torch.float64))
    assert model(batch, draws=draws).units["kl"] == "nats"
    model.prior.kind = Likelihood.NONE
    model.prior.__class__ = type("Other", (StandardNormal,), {})  # no closed form is known of it
    assert model(batch, draws=draws).units["kl"] == "nats plus the error of the prior"
    assert PriorLoss()(model, batch, draws).units["kl"] == "nats plus the error of the prior"


def test_samples_are_draws_or_means():
    spec = {
        "version": 1,
        "model": {
            "type": "latent",
            "encoder": {"type": "vae.mlp", "hidden": [4], "latent_dim": 2},
            "prior": "normal",
            "decoder": {"type": "gaussian", "hidden": [4]},
        },
        "data": "toy2d",
    }
    drawn = built(run_spec(spec))
    spec["model"]["samples"] = "means"
    means = built(run_spec(spec))
    means.load_state_dict(drawn.state_dict())
    z = torch.randn(5, 2)
    torch.testing.assert_close(means.decode(z), drawn.decoder.mean(Condition(vector=z)))
    assert not torch.equal(drawn.decode(z), drawn.decode(z))
    x = torch.randn(3, 2)
    torch.testing.assert_close(drawn.reconstruct(x), means.decode(drawn.encode(x)))
