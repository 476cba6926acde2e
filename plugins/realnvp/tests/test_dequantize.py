"""Dequantisation: exact bits per dimension, levels that come back, noise that can be repeated."""

import math
from functools import partial

import pytest
import torch
from corekit_realnvp.dequantize import UniformDequantize, VariationalDequantize
from corekit_realnvp.resnet import ResNet
from corekit_realnvp.splines import LinearSpline
from corekit_realnvp.tanh_coupling import TanhCoupling

from corekit.data_spec import DataSpec, pixel_spec
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Additive
from corekit.flows.bases import Logistic, Uniform
from corekit.flows.compose import Chain, Inverse
from corekit.flows.elementwise import Elementwise
from corekit.flows.model import FlowModel
from corekit.flows.pointwise import Exp, Logit
from corekit.interfaces.draws import GivenDraws, RowDraws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import Batch
from corekit.testing import expect_kind, parametrize_checks

EXACT = {"rtol": 1e-10, "atol": 1e-12}
TINY = {"two_sided": (0.05, "both"), "one_sided": (0.05, "lower"), "tiny": (1e-6, "both")}


@parametrize_checks("stochastic", "realnvp.uniform_dequantize")
def test_promises_of_uniform(check):
    check()


@parametrize_checks("stochastic", "realnvp.variational_dequantize")
def test_promises_of_variational(check):
    check()


def of_levels(shape, levels):
    return DataSpec(tuple(shape), levels=levels, bin_width=1.0, lowest=0.0)


identity = partial(Elementwise, univariate=LinearSpline(4, tails="none"))


@pytest.mark.parametrize("form", list(TINY))
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_bits_of_logit_models_are_the_golden_ones(golden, bits, form):
    arrays = {k[3:]: v for k, v in golden("dequant").items() if k.startswith(f"b{bits}_")}
    image = arrays["image"].double()
    alpha, sides = TINY[form]
    data = of_levels(image.shape[1:], 2**bits)
    for base, name in ((None, "normal"), (Logistic, "logistic")):
        model = FlowModel(
            data,
            bijector=partial(Logit, alpha=alpha, sides=sides),
            base=base,
            dequantize=UniformDequantize,
        ).double()

        def noise():
            return GivenDraws({"dequantize": arrays["u"]})

        found = model.bits_per_dim(image, generator=noise())
        torch.testing.assert_close(found, arrays[f"{form}_bpd_{name}"], **EXACT)
        if name == "normal":
            log_prob = model.log_prob(image, generator=noise())
            assert log_prob.kind is Likelihood.WEIGHT
            torch.testing.assert_close(-log_prob.value, arrays[f"{form}_nats_normal"], **EXACT)
            x, weight = model.dequantize(image, generator=noise())
            torch.testing.assert_close(x, arrays["x"], **EXACT)
            y, logdet = model.density.bijector(x)
            torch.testing.assert_close(y, arrays[f"{form}_y"], **EXACT)
            torch.testing.assert_close(logdet + weight.value, arrays[f"{form}_logdet"], **EXACT)


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_centred_data_without_a_logit_have_the_golden_bits(golden, bits):
    arrays = golden("dequant")
    image = arrays[f"b{bits}_image"].double()
    model = FlowModel(
        of_levels(image.shape[1:], 2**bits),
        bijector=partial(Elementwise, univariate=Additive()),
        dequantize=UniformDequantize,
    ).double()
    torch.nn.init.constant_(model.density.bijector.params, -0.5)
    found = model.bits_per_dim(image, generator=GivenDraws({"dequantize": arrays[f"b{bits}_u"]}))
    torch.testing.assert_close(found, arrays[f"b{bits}_centred_bpd_normal"], **EXACT)


@pytest.mark.parametrize("levels", [2, 3, 5, 32, 100, 256])
def test_a_uniform_density_has_exactly_the_bits_of_its_levels(levels):
    data = of_levels((3, 4, 4), levels)
    model = FlowModel(data, bijector=identity, base=Uniform, dequantize=UniformDequantize)
    x = torch.randint(levels, (5, 3, 4, 4)).float()
    found = model.bits_per_dim(x)
    torch.testing.assert_close(found, torch.full((5,), math.log2(levels)))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.3, 7.1)])
def test_every_level_comes_back_whatever_the_range(value_range):
    """For each of 256 levels in the units of the data, at both ends of the noise."""
    data = pixel_spec((256,), value_range)
    part = UniformDequantize(data)
    low, high = value_range
    x = (low + (high - low) * torch.arange(256) / 255).float()[None]
    for u in (0.0, 0.5, 1 - 2**-24):
        z, _ = part(x, generator=GivenDraws({"dequantize": torch.full((1, 256), u)}))
        torch.testing.assert_close(part.inverse(z), x, rtol=1e-6, atol=1e-6)
        assert bool((z < 1).all())
        assert (z * 256).floor().tolist() == [list(range(256))]


@pytest.mark.parametrize("levels", [3, 5, 7, 10, 100, 255])
def test_noise_stays_in_its_bin_where_division_rounds(levels):
    part = UniformDequantize(of_levels((levels,), levels))
    x = torch.arange(levels).float()[None]
    for u in (0.0, 1e-8, 1 - 2**-24):
        z, _ = part(x, generator=GivenDraws({"dequantize": torch.full((1, levels), u)}))
        assert torch.equal(part.inverse(z), x)


def test_samples_are_levels():
    data = pixel_spec((2, 3, 3), (-1.0, 1.0))
    model = FlowModel(data, bijector=Logit, dequantize=UniformDequantize)
    x = model.sample(50, generator=torch.Generator().manual_seed(0))
    level = (x - data.lowest) / data.bin_width
    torch.testing.assert_close(level, level.round(), rtol=0, atol=1e-3)
    assert level.min() >= 0
    assert level.max() <= 255


def test_reconstruction_is_exact_and_without_noise():
    data = of_levels((3, 4, 4), 256)
    model = FlowModel(data, bijector=Logit, dequantize=UniformDequantize)
    x = torch.randint(256, (4, 3, 4, 4)).float()
    state = torch.get_rng_state()
    z = model.encode(x)
    assert torch.equal(model.decode(z), x)
    assert torch.equal(model.encode(x), z)
    assert torch.equal(torch.get_rng_state(), state)


def test_evaluation_noise_belongs_to_the_example():
    """An example gets the same number in any batch and in any run."""
    model = FlowModel(of_levels((4,), 4), bijector=Logit, dequantize=UniformDequantize)
    x = torch.randint(4, (6, 4)).float()
    whole = model.log_prob(x, generator=RowDraws(0, range(6))).value
    part = model.log_prob(x[2:5], generator=RowDraws(0, [2, 3, 4])).value
    assert torch.equal(whole[2:5], part)
    assert not torch.equal(whole, model.log_prob(x, generator=RowDraws(1, range(6))).value)


def test_the_loss_reports_bits_and_does_not_touch_the_data():
    """The original adds noise in place; its printed bits per dimension are nats."""
    model = FlowModel(of_levels((3, 2, 2), 4), bijector=Logit, dequantize=UniformDequantize)
    x = torch.randint(4, (5, 3, 2, 2)).float()
    kept = x.clone()
    draws = {"dequantize": torch.rand(5, 3, 2, 2)}
    terms = model(Batch(x), draws=GivenDraws(draws))
    assert torch.equal(x, kept)
    assert terms.units == {"nll": "nats", "bits_per_dim": "bits per dimension"}
    torch.testing.assert_close(terms.terms["bits_per_dim"], terms.total / (12 * math.log(2)))
    log_prob = model.log_prob(x, generator=GivenDraws(draws)).value
    torch.testing.assert_close(terms.total, -log_prob)


def variational(data):
    net = partial(ResNet, filters=4, blocks=1, zero_last=False)
    flow = partial(
        Chain,
        of=[
            partial(TanhCoupling, net=net, split="checkerboard"),
            partial(TanhCoupling, net=net, split="checkerboard", swap=True),
        ],
    )
    return VariationalDequantize(data, bijector=flow)


def test_variational_noise_depends_on_the_image_and_stays_a_weight():
    torch.manual_seed(0)
    part = variational(of_levels((1, 2, 2), 4)).double()
    x = torch.tensor([[0.0, 3.0], [1.0, 2.0]]).double().reshape(1, 1, 2, 2)
    eps = {"dequantize": torch.zeros(1, 1, 2, 2, dtype=torch.float64)}
    one, _ = part(x, generator=GivenDraws(eps))
    two, _ = part(x.flip(2), generator=GivenDraws(eps))
    assert not torch.allclose(one, two.flip(2))
    many = x.expand(4000, 1, 2, 2)
    _, weight = part(many, generator=torch.Generator().manual_seed(0))
    flat = LogProb(weight.value, weight.kind)  # under a uniform density of z
    expect_kind("log P of four pixels", flat, -4 * math.log(4))


def test_variational_noise_learns_a_tighter_bound():
    """Data of one level under a density that prefers one end of each bin."""
    torch.manual_seed(0)
    data = of_levels((2,), 2)
    shift = partial(Elementwise, univariate=Additive())
    part = VariationalDequantize(data, bijector=shift)
    model = FlowModel(data, bijector=Logit, dequantize=lambda **_: part)
    optimizer = torch.optim.Adam(part.parameters(), lr=0.1)
    x = torch.zeros(512, 2)

    def loss():
        draws = torch.Generator().manual_seed(0)
        return model(Batch(x), draws=draws).total.mean()

    first = loss().item()
    for _ in range(20):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < first - 0.02


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match="the data must have levels, got levels=None"):
        UniformDequantize(DataSpec((3,)))
    with pytest.raises(ShapeError, match="must start where the dequantisation ends"):
        FlowModel(
            of_levels((2,), 2), bijector=partial(Inverse, of=Exp), dequantize=UniformDequantize
        )
    with pytest.raises(UsageError, match="standardised and dequantised at once"):
        FlowModel(of_levels((2,), 2), bijector=Logit, dequantize=UniformDequantize).standardize(
            [0.0], [1.0]
        )
