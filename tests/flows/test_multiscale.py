"""Splits against Glow's learned prior, and flows of several scales from any layers."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from corekit.build import component
from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.flows.multiscale import MultiScale, Split, joined, level_shapes, levels
from corekit.flows.pointwise import Exp
from corekit.flows.squeeze import Squeeze
from corekit.interfaces.network import Network
from corekit.nn.convnet import ConvNet
from corekit.spec import spec_class

EXACT = {"rtol": 1e-10, "atol": 1e-12}


class OneConvolution(Network):
    """The network of the reference: means in its even channels, log-deviations in the odd ones."""

    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        self.conv = nn.Conv2d(in_shape[0], 2 * in_shape[0], 3, padding=1)

    def _forward(self, x, context):
        out = self.conv(x)
        return torch.stack((out[:, ::2], out[:, 1::2]), dim=1)


def test_it_is_the_split_of_glow(golden):
    arrays = golden("split_prior")
    layer = Split((8, 4, 4), net=OneConvolution, max_log_scale=None).double()
    layer.net.load_state_dict({"conv.weight": arrays["W"], "conv.bias": arrays["b"]})
    z, logdet = layer(arrays["x"])
    torch.testing.assert_close(z, arrays["flat"], **EXACT)
    torch.testing.assert_close(logdet, arrays["logdet"], **EXACT)
    left, kept = levels(layer, z)
    torch.testing.assert_close(left, arrays["z_out"], **EXACT)
    torch.testing.assert_close(kept, arrays["h_keep"], **EXACT)
    log_prob = Normal(0, 1).log_prob(left).flatten(1).sum(1) + logdet
    torch.testing.assert_close(log_prob, arrays["glow_split_logp"], **EXACT)
    torch.testing.assert_close(layer.inverse(z)[0], arrays["x"], **EXACT)


def small(**given):
    return Coupling(**given, net=partial(ConvNet, hidden=4))


def flow(depth, **options):
    torch.manual_seed(0)
    made = MultiScale((2, 8, 8), levels=depth, of=[Squeeze, ActNorm, small], **options).double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def test_levels_leave_first_to_deepest():
    deep = flow(3)
    assert level_shapes(deep) == ((4, 4, 4), (8, 2, 2), (32, 1, 1))
    assert deep.latent_shape == (128,)
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    z, _ = deep(x)
    parts = levels(deep, z)
    assert torch.equal(joined(deep, parts), z)
    torch.testing.assert_close(deep.inverse(z)[0], x)
    # The first level is what leaves of the first block alone.
    split = deep[-1]
    torch.testing.assert_close(parts[0], levels(split, split(deep[:-1](x)[0])[0])[0])


def test_a_temperature_for_each_level():
    """A level at temperature 0 is at its mean given the others; those below it do not change."""
    deep = flow(3)
    z = torch.randn(4, 128, dtype=torch.float64)
    cold = levels(deep, z)
    cold[0] = 0 * cold[0]
    x, _ = deep.inverse(joined(deep, cold))
    again = levels(deep, deep(x)[0])
    torch.testing.assert_close(again[0], torch.zeros_like(again[0]), rtol=0, atol=1e-9)
    torch.testing.assert_close(again[1:], levels(deep, z)[1:])


def test_other_maps_have_one_level():
    assert level_shapes(Linear((3,))) == ((3,),)
    assert level_shapes(flow(1)) == ((8, 4, 4),)
    assert level_shapes(Chain((4,), of=[Linear, Split])) == ((2,), (2,))


def test_layers_inside_start_from_data():
    deep = flow(3)
    with torch.no_grad():
        for parameter in deep.parameters():
            parameter.zero_()
    x = torch.randn(200, 2, 8, 8, dtype=torch.float64) * 3 + 2
    z = deep.initialize(x)
    torch.testing.assert_close(z, deep(x)[0])
    norms = [m for m in deep.modules() if isinstance(m, ActNorm)]
    assert len(norms) == 3
    assert all(bool(norm.initialised) for norm in norms)
    for level in levels(deep, z):
        dims = (0, 2, 3)
        torch.testing.assert_close(level.mean(dims), torch.zeros(level.shape[1]).double())
        torch.testing.assert_close(
            level.var(dims, correction=0), torch.ones(level.shape[1]).double()
        )


def test_backwards_it_starts_as_well():
    deep = flow(2)
    x = deep.initialize_inverse(torch.randn(50, 128, dtype=torch.float64) * 2)
    assert x.shape == (50, 2, 8, 8)
    assert all(bool(m.initialised) for m in deep.modules() if isinstance(m, ActNorm))


def test_a_spec_makes_a_density_of_images():
    step = ["actnorm", "lu_linear", {"type": "coupling", "net": {"type": "convnet", "hidden": 4}}]
    of = ["squeeze", {"type": "repeat", "times": 2, "of": step}]
    spec = spec_class("bijector", "multiscale").model_validate({"levels": 2, "of": of})
    assert spec.shape((3, 8, 8)) == (192,)
    made = partial(component, "bijector", spec)
    model = FlowModel(DataSpec((3, 8, 8)), bijector=made)
    x = torch.randn(2, 3, 8, 8)
    assert model.log_prob(x).value.shape == (2,)
    assert model.sample(2).shape == (2, 3, 8, 8)
    torch.testing.assert_close(model.reconstruct(x), x, rtol=0, atol=1e-4)


def test_half_a_feature_more_goes_on():
    layer = Split((5,), of=Linear)
    assert level_shapes(layer) == ((2,), (3,))
    assert layer(torch.zeros(2, 5))[0].shape == (2, 5)


def test_what_cannot_be_divided_is_refused_in_words():
    with pytest.raises(ShapeError, match=r"at least 2 features .* got \(1, 4, 4\)\. Squeeze"):
        Split((1, 4, 4))
    with pytest.raises(ShapeError, match="got Exp from real to positive"):
        Split((4,), of=Exp)
    with pytest.raises(UsageError, match="max_log_scale must be positive, got 0"):
        Split((4,), max_log_scale=0)
    with pytest.raises(UsageError, match="levels must be at least 1, got 0"):
        MultiScale((4,), levels=0, of=ActNorm)
    with pytest.raises(UsageError, match="got a built Bijector"):
        MultiScale((4,), levels=2, of=ActNorm((4,)))
    spec = spec_class("bijector", "multiscale").model_validate({"levels": 4, "of": "actnorm"})
    with pytest.raises(ShapeError, match=r"got \(1,\) at level 3\. Use fewer levels"):
        spec.shape((4,))
