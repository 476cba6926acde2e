"""Parts of a Glow by their formulas, and the options that a Glow hands on to them."""

import math
from functools import partial

import pytest
import torch
from corekit_glow.convolution import STD, NormedConv, ZeroConv
from corekit_glow.coupling import GlowCoupling, ShiftScale
from corekit_glow.flow import Glow
from corekit_glow.invertible_conv import QrLinear, invertible_conv
from corekit_glow.net import GlowNet
from corekit_glow.permute import GlowPermute
from corekit_glow.split import SplitNet
from corekit_glow.step import FlowStep
from corekit_glow.top import TopPrior
from torch.nn.functional import conv2d, pad

from corekit.flows.householder import Householder
from corekit.flows.linear import Linear
from corekit.flows.multiscale import Split
from corekit.nn.convnet import ConvNet
from corekit.nn.recompute import recompute_activations
from corekit.testing.case import redraw

SHAPE = (3, 8, 8)
SMALL = {"levels": 2, "steps": 2, "hidden": 6}


def part(kind, flow):
    return [module for module in flow.modules() if isinstance(module, kind)]


# layers


def test_new_layers_are_drawn_and_zeroed_as_the_authors_do():
    for norm in (True, False):
        layer = NormedConv(16, 64, 3, norm=norm, edge=True)
        assert STD == 0.05
        assert layer.weight.std().item() == pytest.approx(0.05, rel=0.05)
        assert layer.edge.std().item() == pytest.approx(0.05, rel=0.2)
    for net in (GlowNet((3, 4, 4), (2, 3, 4, 4)), SplitNet((3, 4, 4), (2, 3, 4, 4), edge=True)):
        assert not net(torch.randn(2, 3, 4, 4)).any()
    assert all(not p.any() for p in ZeroConv(3, 4, edge=True).parameters())


@pytest.mark.parametrize(("border", "told"), [("none", 0), ("last", 1), ("all", 2)])
def test_the_border_is_told_where_it_is_asked_for(border, told):
    net = GlowNet((2, 4, 4), (2, 2, 4, 4), hidden=4, edge_bias=border)
    assert [key for key, _ in net.named_parameters() if "edge" in key] == [
        "first.edge",
        "last.edge",
    ][2 - told :]


@pytest.mark.parametrize("factor", [0.0, 1.5])
def test_zero_layers_have_the_factor_that_is_asked_for(factor):
    net = GlowNet((2, 4, 4), (2, 2, 4, 4), hidden=4, logscale_factor=factor)
    split = SplitNet((2, 4, 4), (2, 2, 4, 4), logscale_factor=factor)
    for layer in (net.last, split.conv):
        assert (layer.logs is None) == (factor == 0)
        assert layer.factor == factor


@pytest.mark.parametrize("edge", [True, False])
def test_the_network_of_a_split_is_its_formula(edge):
    net = SplitNet((2, 4, 4), (2, 3, 4, 4), (5,), logscale_factor=0.7, edge=edge).double()
    redraw(net)
    x, context = torch.randn(40, 2, 4, 4).double(), torch.randn(40, 5).double()
    given = torch.cat((x, context[:, :, None, None].expand(-1, -1, 4, 4)), dim=1)
    conv = net.conv
    y = conv2d(given, conv.weight, conv.bias, padding=1)
    if edge:
        outside = pad(torch.zeros(1, 1, 4, 4).double(), [1] * 4, value=1.0)
        y = y + conv2d(outside, conv.edge)
    y = y * (0.7 * conv.logs).exp()[:, None, None]
    for rows in (1, 40):
        torch.testing.assert_close(net(x[:rows], context[:rows]), y[:rows].unflatten(1, (2, 3)))


def test_a_network_starts_from_every_row_with_its_context(monkeypatch):
    monkeypatch.setattr("corekit_glow.net.INIT_ROWS", 8)
    net = GlowNet((2, 4, 4), (2, 2, 4, 4), (3,), hidden=5).double()
    rows = torch.linspace(0, 4, 40).double()
    x = rows[:, None, None, None] * torch.randn(40, 2, 4, 4).double()
    context = rows[:, None] * torch.randn(40, 3).double() + rows[:, None]
    net.initialize(x, context)
    hidden = []
    for layer in (net.first, net.second):
        layer.register_forward_hook(lambda layer, given, out: hidden.append(out.clone()))
    net(x, context)
    for y in hidden:
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(5).double(), rtol=0, atol=1e-9)
        deviation = y.std((0, 2, 3), correction=0)
        torch.testing.assert_close(deviation, torch.ones(5).double(), rtol=1e-9, atol=0)


def test_a_network_in_bf16_computes_in_the_dtype_of_its_input_but_in_training():
    half, whole = (GlowNet((2, 4, 4), (2, 2, 4, 4), hidden=8, dtype=d) for d in ("bf16", "input"))
    redraw(half)
    whole.load_state_dict(half.state_dict())
    x = torch.randn(4, 2, 4, 4)
    assert torch.equal(half.eval()(x), whole(x))
    rounded = half.train()(x)
    assert rounded.dtype is torch.float32
    assert not torch.equal(rounded, whole(x))
    with torch.no_grad():
        assert torch.equal(half(x), whole(x))


# scales


@pytest.mark.parametrize("floor", [0.0, 0.2])
@pytest.mark.parametrize("scale", ["sigmoid2", "exp_tanh", "clamped"])
def test_a_scale_is_its_formula(scale, floor):
    raw, m = torch.linspace(-9, 9, 61).double(), 1.3
    least = {
        "sigmoid2": torch.sigmoid(raw + 2),
        "exp_tanh": (m * torch.tanh(raw / m)).exp(),
        "clamped": (2 * m / math.pi * torch.atan(math.pi * raw / (2 * m))).exp(),
    }[scale]
    s = floor + (1 - floor) * least
    shift = torch.randn(61).double()
    x, params = torch.randn(1, 61).double(), torch.stack((raw, shift))[None]
    coupling = ShiftScale(scale, floor=floor, max_log_scale=m)
    z, log_slope = coupling.forward(x, params)
    torch.testing.assert_close(z, (x + shift) * s)
    torch.testing.assert_close(log_slope[0], s.log())
    torch.testing.assert_close(coupling.inverse(z, params)[0], x)
    torch.testing.assert_close(coupling.inverse(z, params)[1], -log_slope)


def test_scales_of_half_precision_are_summed_in_float32():
    params = torch.stack((torch.full((1, 64), 0.3), torch.zeros(1, 64)), dim=1).bfloat16()
    z, log_slope = ShiftScale().forward(torch.ones(1, 64).bfloat16(), params)
    assert (z.dtype, log_slope.dtype) == (torch.bfloat16, torch.float32)
    want = torch.sigmoid(torch.tensor(0.3).bfloat16().float() + 2)
    want = (1e-3 + 0.999 * want).log().expand(1, 64)
    torch.testing.assert_close(log_slope, want, rtol=1e-5, atol=0)


def test_options_of_a_coupling_reach_its_parts():
    coupling = GlowCoupling((4, 4, 4), scale="clamped", floor=0.1, max_log_scale=3.0, hidden=5)
    chosen = coupling.univariate
    assert (chosen.scale, chosen.floor, chosen.max_log_scale) == ("clamped", 0.1, 3.0)
    assert coupling.net.first.weight.shape[0] == 5
    for swap in (False, True):
        coupling = GlowCoupling((5, 4, 4), hidden=4, swap=swap)
        redraw(coupling)
        x = torch.randn(2, 5, 4, 4)
        same = [bool((coupling(x)[0][:, c] == x[:, c]).all()) for c in range(5)]
        assert same in ([True] * 3 + [False] * 2, [False] * 3 + [True] * 2)
        assert same[0] != swap


def test_a_form_is_what_it_is_named_for():
    kinds = {"plain": Linear, "lu": None, "qr": QrLinear, "orthogonal": Householder}
    for form, kind in kinds.items():
        layer = invertible_conv((5, 2, 2), form=form).double()
        assert layer.bias is None
        assert kind is None or type(layer) is kind
        start = layer.matrix()
        torch.testing.assert_close(start @ start.mT, torch.eye(5).double(), rtol=0, atol=1e-5)
        redraw(layer)
        matrix = layer.matrix()
        rotation = torch.allclose(matrix @ matrix.mT, torch.eye(5).double())
        assert rotation == (form == "orthogonal")
        det = torch.linalg.slogdet(matrix).logabsdet
        torch.testing.assert_close(layer.log_abs_det(), det)
        torch.testing.assert_close(layer.inverse_matrix() @ matrix, torch.eye(5).double())


def test_the_factors_of_a_qr_matrix_are_multiplied_in_float64_where_they_are_asked_for():
    layer = QrLinear((6,))
    redraw(layer)
    wide = QrLinear((6,)).double()
    wide.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer.matrix(torch.float64), wide.matrix(), rtol=0, atol=1e-14)


def test_an_order_is_the_one_it_is_named_for():
    x = torch.arange(7.0).reshape(1, 7)
    assert GlowPermute((7,), order="reverse")(x)[0].tolist() == [[6.0, 5, 4, 3, 2, 1, 0]]
    orders = [GlowPermute((7,), seed=seed)(x)[0].tolist()[0] for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == x.tolist()[0]
    assert orders[0] != x.flip(1).tolist()[0]


# the deepest level


@pytest.mark.parametrize("learn", [True, False])
@pytest.mark.parametrize("bound", [None, 0.3])
def test_the_top_is_its_formula(learn, bound):
    top = TopPrior((2, 3, 4), (5,), learn=learn, logscale_factor=1.7, max_log_std=bound, edge=True)
    redraw(top.double())
    x, context = torch.randn(3, 2, 3, 4).double(), torch.randn(3, 5).double()
    found = torch.nn.functional.linear(context, top.weight, top.context_bias)
    found = (found * (1.7 * top.context_logs).exp())[:, :, None, None]
    if learn:
        outside = pad(torch.zeros(1, 1, 3, 4).double(), [1] * 4, value=1.0)
        own = top.bias[:, None, None] + conv2d(outside, top.edge)
        found = found + own * (1.7 * top.logs).exp()[:, None, None]
    else:
        assert top.bias is top.logs is top.edge is None
    mean, log_std = found.expand(-1, -1, 3, 4).chunk(2, dim=1)
    log_std = log_std if bound is None else bound * torch.tanh(log_std / bound)
    z, logdet = top(x, context)
    torch.testing.assert_close(z, (x - mean) / log_std.exp())
    torch.testing.assert_close(logdet, -log_std.flatten(1).sum(1))
    back, other = top.inverse(z, context)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -logdet)


# what a Glow hands on


def test_options_of_a_glow_reach_its_steps():
    options = {"scale": "clamped", "floor": 0.2, "actnorm_scale": 0.5}
    flow = Glow(SHAPE, **SMALL, **options, actnorm_in_net=False)
    couplings = part(GlowCoupling, flow)
    assert len(couplings) == 4
    for coupling in couplings:
        assert (coupling.univariate.scale, coupling.univariate.floor) == ("clamped", 0.2)
        assert coupling.net.first.norm is coupling.net.second.norm is None
        assert coupling.net.first.weight.shape[0] == 6
    flow.initialize(torch.rand(64, *SHAPE))
    assert [step[0].scale for step in part(FlowStep, flow)] == [0.5] * 4
    other = Glow(SHAPE, **SMALL, net=partial(ConvNet, hidden=7))
    assert {type(coupling.net) for coupling in part(GlowCoupling, other)} == {ConvNet}


def test_options_of_a_glow_reach_its_splits_and_its_top():
    flow = Glow(SHAPE, **SMALL, logscale_factor=1.1, max_log_std=0.4, edge_bias="last")
    (split,), (top,) = part(Split, flow), part(TopPrior, flow)
    assert (split.max_log_scale, top.max_log_std) == (0.4, 0.4)
    assert {layer.factor for layer in part(ZeroConv, flow)} == {1.1}
    assert len(part(ZeroConv, flow)) == 5
    assert top.factor == 1.1
    assert all(layer.edge is not None for layer in part(ZeroConv, flow))
    assert top.edge is not None
    assert not any(layer.edge is not None for layer in part(NormedConv, flow))


def test_a_top_is_there_where_something_is_to_be_learned():
    for learn, context, expected in [
        (True, None, True),
        (False, None, None),
        (False, (3,), False),
        (True, (3,), True),
    ]:
        top = part(TopPrior, Glow(SHAPE, context, **SMALL, learn_top=learn))
        assert [t.bias is not None for t in top] == ([] if expected is None else [expected])


def test_no_two_steps_shuffle_alike_and_each_glow_shuffles_the_same():
    one, other = (Glow(SHAPE, levels=1, steps=6, hidden=4, mixing="shuffle") for _ in range(2))
    orders = [tuple(step[1].order.tolist()) for step in part(FlowStep, one)]
    assert len(set(orders)) == 6
    assert orders == [tuple(step[1].order.tolist()) for step in part(FlowStep, other)]


def test_what_is_recomputed_is_each_step_as_a_whole():
    flow = Glow(SHAPE, **SMALL)
    found = {type(flow.get_submodule(name)) for name in recompute_activations(flow)}
    assert found
    assert FlowStep not in found


def test_what_leaves_is_told_the_context():
    split = Split((4, 2, 2), (3,), net=SplitNet).double()
    redraw(split)
    x, context = torch.randn(3, 4, 2, 2).double(), torch.randn(3, 3).double()
    mean, raw = split.net(x[:, :2], context).unbind(1)
    log_std = 7 * torch.tanh(raw / 7)
    z, logdet = split(x, context)
    torch.testing.assert_close(z[:, :8], ((x[:, 2:] - mean) / log_std.exp()).flatten(1))
    torch.testing.assert_close(logdet, -log_std.flatten(1).sum(1))
    torch.testing.assert_close(split.inverse(z, context)[0], x)
    assert not torch.isclose(split(x, context + 1)[0][:, :8], z[:, :8]).any()
