"""Surjections: bounds and densities of Gaussians in closed form, and samples that follow them."""

import math
from functools import partial

import pytest
import torch
from corekit_realnvp.coupling import AffineCoupling
from corekit_realnvp.dequantize import UniformDequantize
from corekit_realnvp.surjections import Augment, Slice
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from corekit.build import build
from corekit.data_spec import DataSpec, Support
from corekit.errors import NoDensity, ShapeError, SpecError, UsageError
from corekit.flows.lu_linear import LuLinear
from corekit.flows.model import FlowModel
from corekit.flows.pointwise import Logit
from corekit.interfaces.draws import GivenDraws, RowDraws
from corekit.interfaces.likelihood import Likelihood, LogProb, importance_bound
from corekit.interfaces.records import Batch, Condition
from corekit.nn.mlp import Mlp
from corekit.spec import check_spec, run_spec
from corekit.testing import expect_kind, parametrize_checks

EXACT = {"rtol": 1e-9, "atol": 1e-10}
COVARIANCE = torch.tensor([[2.0, 0.8, 0.3], [0.8, 1.5, -0.4], [0.3, -0.4, 0.7]]).double()
LINE = partial(Mlp, hidden=())


@parametrize_checks("stochastic", "realnvp.augment")
def test_promises_of_augment(check):
    check()


@parametrize_checks("stochastic", "realnvp.slice")
def test_promises_of_slice(check):
    check()


def of_gaussian(covariance, data, **front):
    """A flow over what the surjection makes, whose density there is a Gaussian of mean 0."""
    model = FlowModel(data, bijector=partial(LuLinear, bias=False), **front).double().eval()
    matrix = torch.linalg.inv(torch.linalg.cholesky(covariance))
    model.density.bijector.set_matrix(matrix)
    return model


def given_first(covariance, first):
    """Of the last numbers given the first: matrix of the mean, and covariance."""
    a, b, c = covariance[:first, :first], covariance[first:, :first], covariance[first:, first:]
    gain = b @ torch.linalg.inv(a)
    return gain, c - gain @ b.T


@torch.no_grad()
def set_line(layer, gain, log_std, shift=0.0):
    """Mean gain x + shift, log-deviations that are constant."""
    features = len(log_std)
    layer.weight.zero_()
    layer.weight[:features] = gain
    layer.bias[:features] = shift
    layer.bias[features:] = log_std


def normal(covariance):
    return MultivariateNormal(torch.zeros(len(covariance)).double(), covariance)


def augmented(shift=0.0, wider=0.0):
    """The Gaussian of three numbers, of which the first two are data; noise right or wrong."""
    front = partial(Augment, net=LINE, max_log_scale=None)
    model = of_gaussian(COVARIANCE, DataSpec((2,)), surjection=front)
    gain, covariance = given_first(COVARIANCE, 2)
    log_std = covariance.sqrt().log().flatten() + wider
    set_line(model.surjection.noise.net.layers[-1], gain, log_std, shift)
    return model, normal(COVARIANCE[:2, :2]), covariance.sqrt().item()


def test_the_right_noise_gives_the_density_of_the_data_whatever_is_drawn():
    model, truth, _ = augmented()
    x = torch.randn(50, 2).double()
    found = model.log_prob(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.value, truth.log_prob(x), **EXACT)
    assert found.kind is model.kind is Likelihood.WEIGHT
    terms = model(Batch(x), draws=torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms.total, -truth.log_prob(x), **EXACT)
    assert terms.units == {"nll": "nats"}


def test_wrong_noise_costs_its_divergence_and_averages_to_the_density():
    shift, wider = 0.3, 0.4
    model, truth, std = augmented(shift, wider)
    x = torch.tensor([[0.5, -1.0]]).double()
    many = x.expand(200_000, 2)
    found = model.log_prob(many, generator=torch.Generator().manual_seed(0))
    cost = kl_divergence(Normal(shift, std * math.exp(wider)), Normal(0.0, std)).item()
    values, error = found.value, found.value.std() / math.sqrt(len(many))
    want = truth.log_prob(x).item()
    assert abs(values.mean() - (want - cost)) < 5 * error
    assert 5 * error < 0.1 * cost  # the test sees a tenth of it
    expect_kind("log p of an augmented Gaussian", found, want)
    bound = importance_bound(found, len(many)).value.item()
    assert bound == pytest.approx(want, abs=0.01)


def test_samples_of_an_augmented_gaussian_are_the_data_part():
    model, _, _ = augmented(0.3, 0.4)  # the noise plays no part
    x = model.sample(40_000, generator=torch.Generator().manual_seed(0))
    assert x.shape == (40_000, 2)
    torch.testing.assert_close(x.T.cov(), COVARIANCE[:2, :2], rtol=0, atol=0.06)


def test_noise_beside_the_unit_interval_stays_in_it_and_is_counted():
    """Under a uniform density of the cube, the average weight is the density of x: one."""
    part = Augment(DataSpec((1,), support=Support.UNIT_INTERVAL), extra=2, net=LINE).double()
    line = part.noise.net.layers[-1]
    set_line(line, torch.tensor([[2.0], [-1.0]]), torch.tensor([0.3, 0.6]).double())
    x = torch.full((20_000, 1), 0.7).double()
    z, weight = part(x, generator=torch.Generator().manual_seed(0))
    assert z.min() >= 0
    assert z.max() <= 1
    expect_kind("the density of x", LogProb(weight.value, weight.kind), 0.0)


def sliced():
    """The Gaussian of three numbers as one that is kept and two that are independent given it."""
    covariance = COVARIANCE.clone()
    gain, rest = given_first(covariance, 1)
    rest = rest.diagonal().diag()
    a = covariance[:1, :1]
    covariance[1:, 1:] = rest + gain @ a @ gain.T
    front = partial(Slice, drop=2, net=LINE, max_log_scale=None)
    model = of_gaussian(a, DataSpec((3,)), surjection=front)
    set_line(model.surjection.dropped.net.layers[-1], gain, rest.diagonal().sqrt().log())
    return model, covariance


def test_a_sliced_gaussian_has_its_exact_density():
    model, covariance = sliced()
    x = torch.randn(50, 3).double()
    found = model.log_prob(x)
    assert found.kind is model.kind is Likelihood.EXACT
    torch.testing.assert_close(found.value, normal(covariance).log_prob(x), **EXACT)


def test_samples_of_a_sliced_gaussian_have_its_covariance():
    model, covariance = sliced()
    x = model.sample(40_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), torch.zeros(3).double(), rtol=0, atol=0.04)
    torch.testing.assert_close(x.T.cov(), covariance, rtol=0, atol=0.06)


def test_a_sample_belongs_to_its_row():
    model, _ = sliced()
    whole = model.sample(6, generator=RowDraws(0, range(6)))
    part = model.sample(3, generator=RowDraws(0, [2, 3, 4]))
    assert torch.equal(whole[2:5], part)


def test_a_slice_learns_what_it_drops():
    """y = 0.8 x + 0.3 n: the loss falls to the entropy of the data."""
    torch.manual_seed(0)
    x = torch.randn(4000, 1)
    data = torch.cat((x, 0.8 * x + 0.3 * torch.randn(4000, 1)), 1)
    model = FlowModel(
        DataSpec((2,)), bijector=partial(LuLinear, bias=True), surjection=partial(Slice, net=LINE)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = model(Batch(data)).total.mean()
        loss.backward()
        optimizer.step()
    entropy = math.log(2 * math.pi * math.e) + math.log(0.3)
    assert loss.item() == pytest.approx(entropy, abs=0.05)


def test_images_get_more_channels_and_lose_the_last_ones():
    wide = Augment(DataSpec((3, 4, 6)), extra=2)
    x = torch.randn(2, 3, 4, 6)
    z, weight = wide(x)
    assert z.shape == (2, *wide.latent_shape) == (2, 5, 4, 6)
    assert torch.equal(z[:, :3], x)
    assert weight.value.shape == (2,)
    narrow = Slice(DataSpec((3, 4, 6)), drop=2)
    z, _ = narrow(x)
    assert torch.equal(z, x[:, :1])
    back = narrow.inverse(z, generator=GivenDraws({"slice": torch.zeros(2, 2, 4, 6)}))
    assert torch.equal(back, torch.cat((z, torch.zeros(2, 2, 4, 6)), 1))  # a new one has mean 0


@pytest.mark.parametrize("front", [Augment, Slice])
def test_a_condition_reaches_the_surjection(front):
    torch.manual_seed(0)
    data = DataSpec((2,), condition_shapes={"vector": (3,)})
    flow = partial(AffineCoupling, hidden=4) if front is Augment else partial(LuLinear, bias=True)
    model = FlowModel(data, bijector=flow, surjection=front)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, vector = torch.randn(5, 2), torch.randn(5, 3)
    draws = {"augment": torch.zeros(5, 1)}
    one, two = (
        model.log_prob(x, Condition(vector=v), generator=GivenDraws(draws)).value
        for v in (vector, vector + 1)
    )
    assert not torch.allclose(one, two)
    assert model.sample(5, Condition(vector=vector)).shape == (5, 2)
    with pytest.raises(UsageError, match="needs the condition 'vector'"):
        model.log_prob(x)
    part = front(DataSpec((2,)), (3,), conditional=False)
    assert part.context_shape is None


def test_levels_are_spread_then_augmented_and_come_back():
    data = DataSpec((1, 2, 2), levels=4, bin_width=1.0, lowest=0.0)
    front = {"dequantize": UniformDequantize, "surjection": Augment}
    model = FlowModel(data, bijector=Logit, **front)
    x = torch.randint(4, (6, 1, 2, 2)).float()
    z = model.encode(x)
    assert z.shape == (6, 2, 2, 2)
    assert torch.equal(model.decode(z), x)
    assert set(model.sample(20).unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    terms = model(Batch(x), draws=torch.Generator().manual_seed(0))
    torch.testing.assert_close(terms.terms["bits_per_dim"], terms.total / (4 * math.log(2)))
    found = model.log_prob(x, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.value, -terms.total)
    assert found.kind is Likelihood.WEIGHT


def test_a_surjection_alone_makes_no_bits():
    model = FlowModel(DataSpec((2,)), bijector=LuLinear, surjection=Augment)
    assert set(model(Batch(torch.zeros(3, 2))).terms) == {"nll"}
    with pytest.raises(NoDensity, match="bin width"):
        model.bits_per_dim(torch.zeros(3, 2))


def test_standardised_data_keep_their_density():
    """The surjection sees standardised data; what is given and taken is as it was."""
    model, covariance = sliced()
    mean, std = [1.0, -2.0, 3.0], [2.0, 0.5, 3.0]
    model.standardize(mean, std)
    model.double()
    x = torch.randn(20, 3).double()
    scale, shift = torch.tensor(std).double(), torch.tensor(mean).double()
    truth = MultivariateNormal(shift, scale[:, None] * covariance * scale)
    torch.testing.assert_close(model.log_prob(x).value, truth.log_prob(x), **EXACT)
    drawn = model.sample(40_000, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((drawn - shift) / scale, drawn.sub(shift).div(scale))
    torch.testing.assert_close(((drawn - shift) / scale).T.cov(), covariance, rtol=0, atol=0.06)
    kept = model.reconstruct(x)[:, :1]
    torch.testing.assert_close(kept, x[:, :1], **EXACT)


def spec_of(front):
    model = {"type": "flow", "bijector": "lu_linear", **front}
    return {"version": 1, "model": model, "data": {"type": "toy2d", "density": "moons"}}


def test_a_spec_threads_the_shape():
    model = build(spec_of({"surjection": {"type": "realnvp.augment", "extra": 3}}))
    assert model.density.event_shape == (5,)
    assert build(spec_of({"surjection": "realnvp.slice"})).density.event_shape == (1,)
    coupling = {"bijector": {"type": "realnvp.affine_coupling"}}
    with pytest.raises(SpecError, match="at least 2 features"):
        check_spec(run_spec(spec_of({"surjection": "realnvp.slice", **coupling})))
    with pytest.raises(SpecError, match=r"surjection\.drop: .*from 1 to 1 .*got 2"):
        check_spec(run_spec(spec_of({"surjection": {"type": "realnvp.slice", "drop": 2}})))


def test_bad_arguments_are_refused():
    with pytest.raises(UsageError, match=r"dequantize must map levels .*got Augment.*`surjection`"):
        build(spec_of({"dequantize": "realnvp.augment"}))
    levels = DataSpec((2,), levels=2, bin_width=1.0, lowest=0.0)
    with pytest.raises(UsageError, match=r"got UniformDequantize.*`dequantize`"):
        FlowModel(levels, bijector=Logit, surjection=UniformDequantize)
    with pytest.raises(ShapeError, match=r"drop must be from 1 to 1 .*got 2"):
        Slice(DataSpec((2,)), drop=2)
    with pytest.raises(ShapeError, match="must be real, got unit_interval"):
        Slice(DataSpec((2,), support=Support.UNIT_INTERVAL))
    with pytest.raises(UsageError, match="extra must be at least 1, got 0"):
        Augment(DataSpec((2,)), extra=0)
    with pytest.raises(UsageError, match="conditional must be true for a net"):
        Augment(DataSpec((2,)), conditional=False, net=LINE)
    with pytest.raises(UsageError, match=r"max_log_scale must be positive, got 0\.0"):
        Slice(DataSpec((2,)), max_log_scale=0.0)
    with pytest.raises(ShapeError, match="where the surjection ends"):
        FlowModel(DataSpec((2,)), bijector=Logit, surjection=Augment)
