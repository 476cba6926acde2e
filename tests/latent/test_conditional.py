"""Priors and decoders that are told the conditions of the data, where everything is known."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, SpecError, UsageError
from corekit.flows.prior import StandardNormal
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Batch, Condition
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.given import Given
from corekit.latent.model import LatentModel
from corekit.latent.posteriors import DiagonalGaussian, Point
from corekit.spec import run_spec

SCALE, FEATURES, LATENT = 0.7, 5, 2
SHAPES = {"labels": (), "image": (1, 2, 2), "vector": (3,)}


class Shifted(Prior):
    """N(M e, I)."""

    def __init__(self, event_shape, condition):
        super().__init__()
        self.event_shape = event_shape
        self.condition_shapes = {} if condition is None else dict(condition)
        self.m = torch.nn.Linear(condition["vector"][0], event_shape[0], bias=False)

    def _log_prob(self, x, condition, draws):
        away = x - self.m(condition.vector)
        return LogProb(torch.distributions.Normal(0, 1).log_prob(away).sum(1))

    def _sample(self, n, condition, shape, temperature, draws, **options):
        return self.m(condition.vector) + temperature * draws.normal(
            "z", (n, *shape), self.m.weight
        )


class Knows(Encoder):
    """q(z | x, c) = N(A x + B e + a, diag), the exact posterior once its numbers are set."""

    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shape = event_shape, (LATENT,)
        self.x, self.e = torch.nn.Linear(FEATURES, LATENT), torch.nn.Linear(3, LATENT, bias=False)
        self.log_var = torch.nn.Parameter(torch.zeros(LATENT))

    def _forward(self, x, condition):
        mu = self.x(x) + self.e(condition.vector)
        return DiagonalGaussian(mu, self.log_var.expand_as(mu))


class Picture(Encoder):
    """A linear map of a picture, to a point."""

    kind = Likelihood.NONE

    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shape = event_shape, (4,)
        self.linear = torch.nn.Linear(torch.Size(event_shape).numel(), 4)

    def _forward(self, x, condition):
        return Point(self.linear(x.flatten(1)))


class LinearPoint(Encoder):
    """A linear map, to a point."""

    kind = Likelihood.NONE

    def __init__(self, event_shape):
        super().__init__()
        self.event_shape, self.latent_shape = event_shape, (LATENT,)
        self.linear = torch.nn.Linear(event_shape[0], LATENT)

    def _forward(self, x, condition):
        return Point(self.linear(x))


def decoder(**given):
    return GaussianDecoder(**given, hidden=(), scale=SCALE)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def known():
    """x = W z + V e + b + noise, z = M e + noise; with its exact posterior and p(x | e)."""
    data = DataSpec((FEATURES,), condition_shapes={"vector": (3,)})
    both = {"conditional": ("prior", "decoder")}
    model = LatentModel(data, encoder=Knows, decoder=decoder, prior=Shifted, **both).double()
    w = torch.linalg.qr(normal(FEATURES, LATENT))[0] * torch.tensor([1.5, 0.8])
    v, m, b = normal(FEATURES, 3, seed=1), normal(LATENT, 3, seed=2), normal(FEATURES, seed=3)
    variance = 1 / (1 + w.square().sum(0) / SCALE**2)
    a = variance[:, None] * w.T / SCALE**2
    with torch.no_grad():
        model.decoder.network[0].weight.copy_(torch.cat([w, v], 1))
        model.decoder.network[0].bias.copy_(b)
        model.prior.m.weight.copy_(m)
        model.encoder.x.weight.copy_(a)
        model.encoder.x.bias.copy_(-a @ b)
        model.encoder.e.weight.copy_(variance[:, None] * m - a @ v)
        model.encoder.log_var.copy_(variance.log())
        model.decoder.log_scale.copy_(torch.tensor(SCALE, dtype=torch.float64).log())

    def truth(e):
        covariance = w @ w.T + SCALE**2 * torch.eye(FEATURES, dtype=torch.float64)
        return MultivariateNormal(e @ (w @ m + v).T + b, covariance)

    return model, truth


def test_the_exact_posterior_gives_the_conditional_likelihood(known):
    model, truth = known
    x, condition = normal(20, FEATURES, seed=4), Condition(vector=normal(20, 3, seed=5))
    wanted = truth(condition.vector).log_prob(x)
    found = model.log_prob(x, condition, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.value, wanted, rtol=1e-10, atol=1e-10)
    _, log_q, log_joint = model.infer(x, 3, condition)
    torch.testing.assert_close((log_joint.value - log_q.value), wanted.repeat(3))
    many = Batch(x.repeat(500, 1), Condition(vector=condition.vector.repeat(500, 1)))
    gap = model(many, draws=Draws(torch.Generator().manual_seed(1))).total + wanted.repeat(500)
    assert gap.mean().abs() < 4 * gap.std() / len(gap) ** 0.5  # the bound is tight


def test_samples_follow_their_conditions(known):
    model, truth = known
    e = normal(3, 3, seed=6)
    rows = e.repeat_interleave(4000, 0)
    made = model.sample(
        len(rows), Condition(vector=rows), generator=torch.Generator().manual_seed(1)
    )
    for k, part in enumerate(made.split(4000)):
        law = truth(e[k])
        error = law.covariance_matrix.diagonal().sqrt() / 4000**0.5
        assert ((part.mean(0) - law.mean).abs() < 4 * error).all()
        torch.testing.assert_close(part.T.cov(), law.covariance_matrix, rtol=0, atol=0.2)
    z = model.encode(made[:2], Condition(vector=rows[:2]))
    other = model.decode(z, Condition(vector=rows[-2:]), generator=torch.Generator().manual_seed(2))
    same = model.decode(z, Condition(vector=rows[:2]), generator=torch.Generator().manual_seed(2))
    assert not torch.allclose(other, same)


def test_a_condition_is_a_class_a_picture_and_a_vector_side_by_side():
    given = Given(SHAPES, classes=3, embed=Picture).double()
    image, vector = normal(3, 1, 2, 2), normal(3, 3, seed=1)
    found = given(Condition(vector, torch.tensor([2, -1, 0]), image))
    assert (given.width, found.shape) == (10, (3, 10))
    assert torch.equal(found[:, :3], torch.tensor([[0, 0, 1], [0, 0, 0], [1, 0, 0]]).double())
    assert torch.equal(found[:, 3:7], given.embed.linear(image.flatten(1)))
    assert torch.equal(found[:, 7:], vector)
    embedded = Given({"vector": (3,)}, embed=Picture)
    assert embedded.width == 4
    assert embedded(Condition(vector.float())).shape == (3, 4)


def test_some_rows_lose_their_condition_in_training_alone():
    given, vector = Given({"vector": (3,)}, drop=0.3), 1 + torch.rand(2000, 3)
    found = given(Condition(vector), Draws(torch.Generator().manual_seed(0)))
    gone = (found == 0).all(1)
    assert torch.equal(found[~gone], vector[~gone])
    assert 0.25 < gone.double().mean() < 0.35
    assert torch.equal(given(Condition(vector)), vector)
    assert torch.equal(given.eval()(Condition(vector), Draws(torch.Generator())), vector)


def test_the_embedding_learns_with_the_prior_and_alone_with_it():
    data = DataSpec((FEATURES,), condition_shapes={"image": (1, 2, 2)})

    only = {"conditional": ("prior",), "embed": Picture}
    model = LatentModel(data, encoder=LinearPoint, decoder=decoder, prior=Shifted, **only)
    batch = Batch(torch.rand(6, FEATURES), Condition(image=torch.rand(6, 1, 2, 2)))
    model(batch, draws=Draws(0)).total.mean().backward()
    assert model.given.embed.linear.weight.grad.abs().sum() > 0
    names = ["prior.m.weight", "given.embed.linear.weight", "given.embed.linear.bias"]
    loss = model.narrowed(names)
    alone = loss(model, batch, Draws(0))
    whole = model(batch, draws=Draws(0))
    torch.testing.assert_close(alone.total, whole.terms["kl"])
    with pytest.raises(UsageError, match="Set cache to false"):
        loss.code(model, batch)
    model.conditional = ("prior", "decoder")
    assert model.narrowed(names) is None


@pytest.mark.parametrize(
    ("shapes", "how", "message"),
    [
        ({}, {}, "got data with the conditions none"),
        ({"vector": (3,)}, {"classes": 2}, "must have labels with `classes`"),
        ({"labels": ()}, {"classes": 2, "embed": Picture}, "an image with `embed`"),
        ({"labels": ()}, {}, "classes None and no embedding"),
    ],
)
def test_conditions_that_the_data_lack_are_refused(shapes, how, message):
    with pytest.raises(ShapeError, match=message):
        Given(shapes, **how)


def test_conditions_that_are_not_given_or_wrong_are_refused():
    given = Given(SHAPES, classes=3, embed=Picture)
    with pytest.raises(UsageError, match="needs the condition 'labels'"):
        given(Condition(torch.rand(2, 3)))
    with pytest.raises(UsageError, match="labels must lie in 0 to 2"):
        given(Condition(torch.rand(2, 3), torch.tensor([0, 3]), torch.rand(2, 1, 2, 2)))
    data = DataSpec((FEATURES,), condition_shapes={"vector": (3,)})
    with pytest.raises(UsageError, match="a conditional prior must take a vector"):
        LatentModel(
            data, encoder=Knows, decoder=decoder, prior=StandardNormal, conditional=("prior",)
        )


SPEC = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {"type": "pointcloud.pointnet", "latent_dim": 4, "widths": [8], "head": [8]},
        "prior": {"type": "flow", "bijector": "realnvp.affine_coupling"},
        "decoder": "gaussian",
        "conditional": ["prior", "decoder"],
        "classes": 3,
    },
    "data": {"type": "toy2d"},
}


def spec(**changes):
    return run_spec({**SPEC, "model": {**SPEC["model"], **changes}})


def test_a_spec_is_conditional_as_what_is_built():
    data = DataSpec((6, 3), condition_shapes={"labels": ()})
    model = build(spec(), data=data)
    assert model.given.width == 3
    assert model.prior.condition_shapes == {"vector": (3,)}
    assert model.decoder.condition_shapes == {"vector": (7,)}
    spec().model.shape(data)
    with pytest.raises(ShapeError, match="must have labels"):
        spec().model.shape(DataSpec((6, 3)))
    made = model.sample(2, Condition(labels=torch.tensor([0, -1])))
    assert made.shape == (2, 6, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conditional": []}, "classes must go with something conditional"),
        ({"prior": None}, "got prior: null"),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(SpecError, match=message):
        spec(**changes)
