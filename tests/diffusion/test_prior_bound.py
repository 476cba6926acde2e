"""A diffusion prior in nats: an unbiased bound, beside which a posterior can learn."""

import math
import warnings
from functools import partial

import pytest
import torch

from corekit.data_spec import DataSpec
from corekit.diffusion.bound import variational_bound
from corekit.diffusion.bound_estimate import bound_of_one_step
from corekit.diffusion.continuous_bound import continuous_bound
from corekit.diffusion.prior import DiffusionPrior
from corekit.diffusion.schedules import cosine_betas
from corekit.errors import UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import Batch, NoiseLevel
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.kl import kl_terms, kl_unit
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian
from corekit.testing.oracle import GaussianOracle, OracleDenoiser, Trigonometric

MEAN, STD = torch.tensor([0.7, -0.4], dtype=torch.float64), 0.6
ORACLE = GaussianOracle(MEAN, torch.full((2,), STD**2, dtype=torch.float64))
ROW = torch.tensor([[0.2, 0.9]], dtype=torch.float64)


class Noisy(NoiseSchedule):
    """Variance-preserving, log-SNR from 10 to -10, linear in time."""

    def at(self, time):
        log_snr = 10 - 20 * time
        alpha, sigma = log_snr.sigmoid().sqrt(), (-log_snr).sigmoid().sqrt()
        return NoiseLevel(time, alpha, sigma, 0 * time, 0 * time, log_snr)

    def time_of(self, log_snr):
        return (10 - log_snr) / 20


class Error(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


class Gauss(Encoder):
    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), (2,)
        self.line = torch.nn.Linear(event_shape[0], 4)

    def _forward(self, x, condition):
        return DiagonalGaussian(*self.line(x).chunk(2, 1))


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def prior(event_shape=(2,), condition=None, *, schedule=None, predicts="eps", **options):
    return DiffusionPrior(
        event_shape,
        denoiser=lambda **given: OracleDenoiser(ORACLE, predicts),
        schedule=DiscreteSchedule(cosine_betas(12)) if schedule is None else schedule,
        loss=Error(),
        **options,
    )


def agree(values, others, errors=3.5):
    """The means of two samples differ by chance alone."""
    error = math.sqrt(sum(v.var().item() / len(v) for v in (values, others)))
    difference = (values.mean() - others.mean()).abs().item()
    assert difference <= errors * error, (difference, error)


def test_one_step_is_the_whole_bound_on_average():
    part, many = prior(train_by="bound"), ROW.expand(40_000, 2)
    terms = part.loss(many, draws=seed())
    whole = variational_bound(ORACLE.predict, part.schedule, many[:10_000], generator=seed(1))
    nats = 2 * math.log(2) * whole.total
    agree(terms.total, nats)
    agree(-part.log_prob(many, generator=seed(2)).value, nats)
    assert (terms.units, part.kind) == ({"bound": "nats"}, Likelihood.BOUND)


def test_strata_of_many_steps_and_an_end_with_signal_are_weighed():
    schedule, many = DiscreteSchedule(cosine_betas(60)[:25]), ROW.expand(40_000, 2)
    found = bound_of_one_step(ORACLE.predict, schedule, many, draws=seed())
    whole = variational_bound(ORACLE.predict, schedule, many[:4000], generator=seed(1))
    assert 2 * math.log(2) * whole.prior[0] > 0.5
    agree(found, 2 * math.log(2) * whole.total)


def test_one_level_of_a_continuous_schedule_is_too():
    many = ROW.expand(40_000, 2)
    found = prior(schedule=Noisy(), train_by="bound").loss(many, draws=seed()).total
    whole = continuous_bound(ORACLE.predict, Noisy(), many[:10_000], generator=seed(1)).total
    agree(found, 2 * math.log(2) * whole)


def test_its_gradient_reaches_the_latents_and_is_that_of_the_bound():
    """By a difference of the mean at the same noise."""
    schedule = DiscreteSchedule(cosine_betas(12))
    many = ROW.expand(2000, 2).clone().requires_grad_()

    def bound(x):
        return bound_of_one_step(ORACLE.predict, schedule, x, draws=seed()).sum()

    (found,) = torch.autograd.grad(bound(many), many)
    step = torch.tensor([1e-5, 0.0], dtype=torch.float64)
    want = (bound(many.detach() + step) - bound(many.detach() - step)).item() / 2e-5
    assert found[:, 0].sum().item() == pytest.approx(want, rel=1e-6)


def test_the_divergence_of_a_posterior_is_never_below_the_true_one():
    q = DiagonalGaussian(MEAN[None], torch.full((1, 2), 2 * math.log(STD), dtype=torch.float64))
    many = q.repeated(40_000)  # the density of the oracle itself: the true divergence is 0
    z, log_q = many.rsample_and_log_prob(seed())
    part = prior(train_by="bound")
    kl, _, _ = kl_terms(part, many, z, log_q, seed(1))
    assert kl.mean() > -3 * kl.std() / math.sqrt(len(kl))
    wide = DiagonalGaussian(MEAN[None], torch.full((1, 2), 6.0, dtype=torch.float64))
    many = wide.repeated(4000)
    z, log_q = many.rsample_and_log_prob(seed())
    kl, _, _ = kl_terms(part, many, z, log_q, seed(1))
    exact = torch.distributions.kl_divergence(
        torch.distributions.Normal(MEAN, math.exp(3)), torch.distributions.Normal(MEAN, STD)
    ).sum()
    assert kl.mean() > exact - 3 * kl.std() / math.sqrt(len(kl))
    assert kl_unit(part) == "nats"


def test_an_error_beside_a_density_is_warned_of_and_a_bound_is_not():
    made = partial(LatentModel, DataSpec((3,)), encoder=Gauss, decoder=GaussianDecoder)
    with pytest.warns(UserWarning, match="DiffusionPrior, which has an error instead"):
        assert made(prior=prior).kind is Likelihood.NONE
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = made(prior=partial(prior, train_by="bound")).double()
    assert model.kind is Likelihood.BOUND
    terms = model(Batch(torch.randn(1, 3, dtype=torch.float64)), draws=seed())
    assert terms.units["kl"] == "nats"
    terms.total.mean().backward()
    assert model.encoder.line.weight.grad.isfinite().all()


def test_a_schedule_without_a_bound_is_refused():
    with pytest.raises(UsageError, match="train_by 'bound' must have a schedule of steps"):
        prior(schedule=Trigonometric(), predicts="x_0", train_by="bound")
    with pytest.raises(UsageError, match="train_by must be error or bound, got 'nats'"):
        prior(train_by="nats")
