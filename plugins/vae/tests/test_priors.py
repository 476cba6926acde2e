"""Priors: golden densities, where they start and live, what they share with an encoder."""

import copy
import math

import numpy as np
import pytest
import torch
from corekit_vae.posteriors.full import FullGaussianHead
from corekit_vae.posteriors.von_mises_fisher import VonMisesFisherHead
from corekit_vae.priors.categories import UniformCategories
from corekit_vae.priors.mixture import LatentMixture
from corekit_vae.priors.sphere import UniformSphere
from corekit_vae.priors.vamp import VampPrior
from torch import nn

from corekit.data_spec import DataSpec, Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.prior import StandardNormal
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian, Point


class Given(Encoder):
    """The posteriors that it is built with, whatever it is shown."""

    def __init__(self, mu, log_var):
        super().__init__()
        self.event_shape, self.latent_shape = (1,), tuple(mu.shape[1:])
        self.q = DiagonalGaussian(mu, log_var)

    def _forward(self, x, condition):
        return self.q


class Normalised(Encoder):
    """A batch norm, dropout and a head."""

    def __init__(self, event_shape=(5,), head=FullGaussianHead):
        super().__init__()
        self.event_shape, self.latent_shape = tuple(event_shape), (3,)
        self.body = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5))
        self.head = head((8,), (3,))
        self.latent_support, self.kind = self.head.latent_support, self.head.kind

    def _forward(self, x, condition):
        return self.head(self.body(x))


class Points(Encoder):
    def __init__(self):
        super().__init__()
        self.event_shape = self.latent_shape = (3,)
        self.kind = Likelihood.NONE

    def _forward(self, x, condition):
        return Point(x)


def seed(number=0):
    return torch.Generator().manual_seed(number)


def attached(encoder, **options):
    prior = VampPrior(encoder.latent_shape, **options)
    prior.attach(encoder)
    return prior


def model(encoder=Normalised, prior=VampPrior):
    return LatentModel(DataSpec((5,)), encoder=encoder, decoder=GaussianDecoder, prior=prior)


def exact(got, want):
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.fixture(scope="module")
def truth(golden_root):
    found = np.load(golden_root / "vae" / "truth.npz")
    return {name: torch.tensor(found[name]) for name in found.files}


@pytest.fixture(scope="module")
def latents(golden_root):
    return torch.tensor(np.load(golden_root / "vae" / "losses_pytorch_vae.npz")["z"]).double()


def test_the_mixture_is_the_golden_one(truth, latents):
    prior = LatentMixture((6,), components=7).double()
    parts = truth["mog/mean"], truth["mog/log_var"] / 2, truth["mog/logits"][:, None]
    with torch.no_grad():
        prior.start.copy_(torch.cat(parts, 1))
    exact(prior.log_prob(latents).value, truth["mog/log_prob"])


def test_the_vamp_prior_is_the_golden_one(truth, golden_root):
    golden = np.load(golden_root / "vae" / "losses_pythae.npz")
    mu, log_var = (torch.tensor(golden[f"vamp/prior_{n}"]).double() for n in ("mu", "log_var"))
    prior = attached(Given(mu, log_var), pseudo_inputs=7)
    z = torch.tensor(golden["z"]).double()
    found = prior.log_prob(z).value
    exact(found, truth["vamp/log_prob"])
    without = torch.tensor(golden["vamp/log_p_z_without_2pi"]).double()
    constant = found - without
    exact(constant, constant[:1].expand(8))
    # Six latents; the reference takes the logarithm of 7 in float32.
    assert constant[0].item() == pytest.approx(-3 * math.log(2 * math.pi), abs=1e-7)


def test_its_weights_are_saved_once_and_copied_together():
    made = model().double().eval()
    assert [name for name in made.state_dict() if name.startswith("prior.")] == ["prior.pseudo"]
    assert sum(p is made.prior.pseudo for p in made.parameters()) == 1
    z = torch.randn(4, 3, dtype=torch.float64)
    other = copy.deepcopy(made)
    before = made.prior.log_prob(z).value
    with torch.no_grad():
        for parameter in other.encoder.parameters():
            parameter.zero_()
    assert not torch.allclose(other.prior.log_prob(z).value, before)  # it follows its own encoder
    exact(made.prior.log_prob(z).value, before)
    fresh = model().double().eval()
    fresh.load_state_dict(made.state_dict())
    exact(fresh.prior.log_prob(z).value, before)


def test_batch_norms_see_pseudo_inputs_as_in_evaluation():
    made = model().double().train()
    made.encoder(torch.randn(16, 5, dtype=torch.float64))  # moves the running statistics
    before = {name: value.clone() for name, value in made.encoder.named_buffers()}
    z = torch.randn(4, 3, dtype=torch.float64)
    trained = made.prior.log_prob(z).value
    for name, value in made.encoder.named_buffers():
        assert torch.equal(value, before[name]), name
    assert all(part.training for part in made.modules())
    exact(made.eval().prior.log_prob(z).value, trained)
    exact(made.prior.log_prob(z[:1]).value, trained[:1])


def test_gradients_reach_pseudo_inputs_and_the_encoder():
    made = model()
    made(Batch(torch.randn(8, 5))).total.mean().backward()
    assert made.prior.pseudo.grad.abs().sum() > 0
    assert made.prior._of[0] is made.encoder


def test_it_starts_at_rows_of_the_data():
    made = model(prior=lambda **given: VampPrior(**given, pseudo_inputs=4))
    x = torch.randn(7, 5)
    made.initialize(Batch(x))
    assert torch.equal(made.prior.pseudo, x[[0, 2, 4, 6]])
    some = model(prior=lambda **given: VampPrior(**given, pseudo_inputs=9))
    random = some.prior.pseudo[7:].clone()
    some.initialize(Batch(x))
    assert torch.equal(some.prior.pseudo, torch.cat([x, random]))
    left = model(prior=lambda **given: VampPrior(**given, pseudo_inputs=4, start="random"))
    kept = left.prior.pseudo.clone()
    left.initialize(Batch(x))
    assert torch.equal(left.prior.pseudo, kept)


def test_its_samples_are_of_the_mixture_and_narrow_with_the_temperature():
    mu = torch.tensor([[-3.0, 0.0], [3.0, 1.0]], dtype=torch.float64)

    class Echo(Encoder):
        event_shape = latent_shape = (2,)

        def _forward(self, x, condition):
            return DiagonalGaussian(x, torch.zeros_like(x))

    prior = attached(Echo(), pseudo_inputs=2).double()
    with torch.no_grad():
        prior.pseudo.copy_(mu)
    for temperature in (1.0, 0.2, 0.0):
        z = prior.sample(20_000, temperature=temperature, generator=seed())
        left = z[:, 0] < 0
        assert left.double().mean().item() == pytest.approx(0.5, abs=0.015)
        for side, centre in ((left, mu[0]), (~left, mu[1])):
            torch.testing.assert_close(z[side].mean(0), centre, rtol=0, atol=0.05)
            want = torch.full((2,), temperature).double()
            torch.testing.assert_close(z[side].std(0), want, rtol=0.03, atol=0.01)


def test_on_a_sphere_it_stays_there():
    encoder = Normalised(head=VonMisesFisherHead)
    made = model(lambda event_shape: encoder)
    assert made.prior.support is Support.SPHERE
    z = made.prior.sample(5, temperature=0.5, generator=seed())
    torch.testing.assert_close(z.norm(dim=1), torch.ones(5))
    assert made.prior.log_prob(z).value.isfinite().all()


def test_an_encoder_that_it_cannot_use_is_refused():
    with pytest.raises(UsageError, match=r"must have a posterior with an exact density.*'none'"):
        attached(Points())
    told = Normalised()
    told.condition_width = 3
    with pytest.raises(UsageError, match="must be told x alone, got one that is told a condition"):
        attached(told)
    with pytest.raises(UsageError, match="must be attached to an encoder, got none"):
        VampPrior((3,)).log_prob(torch.zeros(1, 3))
    with pytest.raises(UsageError, match="pseudo_inputs must be at least 1, got 0"):
        VampPrior((3,), pseudo_inputs=0)


def test_a_mixture_starts_on_latents():
    prior = LatentMixture((3,), components=4).double()
    z = 5 + 2 * torch.randn(100, 3, dtype=torch.float64)
    before = prior.log_prob(z).value.mean()
    prior.initialize(z)
    assert torch.equal(prior.start[:, :3], z[[0, 33, 66, 99]])
    torch.testing.assert_close(prior.start[:, 3:6].exp(), (z.std(0) / 4 ** (1 / 3)).expand(4, 3))
    assert prior.log_prob(z).value.mean() > before + 10
    few = LatentMixture((3,), components=4)
    drawn = few.start[2:, :3].clone()
    few.initialize(torch.randn(2, 3))
    assert torch.equal(few.start[2:, :3], drawn)


def test_a_conditional_mixture_starts_and_samples_under_its_condition():
    from corekit.interfaces.records import Condition

    prior = LatentMixture((3,), {"vector": (2,)}, components=2)
    given = Condition(vector=torch.randn(6, 2))
    prior.initialize(torch.randn(6, 3), given)
    assert prior.sample(condition=given, temperature=0.5, generator=seed()).shape == (6, 3)


@pytest.mark.parametrize("m", [2, 3, 512])
def test_the_sphere_is_uniform(m):
    prior = UniformSphere((m,)).double()
    z = prior.sample(4000, generator=seed())
    torch.testing.assert_close(z.norm(dim=1), torch.ones(4000).double())
    torch.testing.assert_close(z.T.cov() * m, torch.eye(m).double(), rtol=0, atol=0.25)
    area = 2 * math.pi ** (m / 2) / math.exp(math.lgamma(m / 2)) if m < 9 else None
    if area:
        exact(prior.log_prob(z).value, torch.full((4000,), -math.log(area), dtype=z.dtype))
    assert prior.log_prob(z).value.isfinite().all()


def test_categories_are_corners_drawn_evenly():
    prior = UniformCategories((6, 2), categories=3).double()
    z = prior.sample(9000, generator=seed())
    assert z.shape == (9000, 6, 2)
    torch.testing.assert_close(z.unflatten(1, (2, 3)).sum(2), torch.ones(9000, 2, 2).double())
    torch.testing.assert_close(z.mean(0), torch.full((6, 2), 1 / 3).double(), rtol=0, atol=0.02)
    exact(prior.log_prob(z).value, torch.full((9000,), -4 * math.log(3), dtype=z.dtype))
    with pytest.raises(ShapeError, match=r"divide the first axis of \(7,\), got 3"):
        UniformCategories((7,), categories=3)


@pytest.mark.parametrize(
    ("head", "prior", "words"),
    [
        (VonMisesFisherHead, StandardNormal, r"StandardNormal .*\(sphere: .*Normalised\).*'real'"),
        (FullGaussianHead, UniformSphere, r"UniformSphere .*\(real: .*Normalised\).*'sphere'"),
    ],
)
def test_a_prior_that_lives_elsewhere_is_refused_by_the_model(head, prior, words):
    with pytest.raises(ShapeError, match=words):
        model(lambda event_shape: Normalised(head=head), prior)
