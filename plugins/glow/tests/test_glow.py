"""What the ports get wrong, and ours must not."""

import copy
import io
import math
import pickle
from functools import partial

import pytest
import torch
from corekit_glow.coupling import GlowCoupling, ShiftScale
from corekit_glow.flow import Glow
from corekit_glow.invertible_conv import invertible_conv
from corekit_glow.net import GlowNet
from corekit_glow.step import FlowStep
from torch.nn.functional import conv2d, one_hot, pad

from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Chain
from corekit.flows.multiscale import joined, levels
from corekit.flows.prior import FlowPrior
from corekit.interfaces.initialization import starts_from_data
from corekit.interfaces.records import Condition
from corekit.nn.recompute import recompute_activations
from corekit.testing.case import redraw

SHAPE = (3, 8, 8)
SMALL = {"levels": 2, "steps": 2, "hidden": 8}


@pytest.fixture
def images():
    return torch.rand(32, *SHAPE)


@pytest.fixture
def flow(images):
    flow = Glow(SHAPE, **SMALL)
    flow.initialize(images)
    return flow


def random(flow, amount=0.05):
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=amount)
    return flow


# 1, 2: the start from data


def test_a_loaded_flow_does_not_start_again(flow, images):
    other = Glow(SHAPE, **SMALL).train()
    other.load_state_dict(flow.state_dict())
    before = copy.deepcopy(other.state_dict())
    other(5 * images - 2)
    other.initialize(5 * images - 2)
    for key, value in other.state_dict().items():
        assert torch.equal(value, before[key]), key


@pytest.mark.parametrize("training", [True, False])
def test_neither_batches_nor_latents_start_anything(images, training):
    flow = Glow(SHAPE, **SMALL).train(training)
    before = copy.deepcopy(flow.state_dict())
    flow(images)
    flow.inverse(torch.randn(4, 192))
    assert all(torch.equal(v, before[k]) for k, v in flow.state_dict().items())


def test_every_layer_starts_with_unit_variance(images):
    flow = Glow(SHAPE, **SMALL)
    seen = {}

    def watch(name):
        return lambda module, inputs, output: seen.__setitem__(name, output.clone())

    for name, module in flow.named_modules():
        if name.endswith(("net.first", "net.second")):
            module.register_forward_hook(watch(name))
    flow.initialize(images)
    flow(images)
    assert len(seen) == 8
    for y in seen.values():
        torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-5)
        torch.testing.assert_close(y.var((0, 2, 3)), torch.ones(8), rtol=1e-2, atol=0)
    assert starts_from_data(flow)


def test_a_start_from_many_rows_is_that_from_all_at_once(images, monkeypatch):
    whole, parts = Glow(SHAPE, **SMALL), None
    parts = copy.deepcopy(whole)
    whole.initialize(images)
    for module in ("corekit.flows.actnorm", "corekit_glow.net", "corekit.interfaces.bijector"):
        monkeypatch.setattr(f"{module}.INIT_ROWS", 5)
    parts.initialize(images)
    for (key, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=key)


# 3: temperature


def test_temperature_zero_is_the_mode_and_not_one():
    prior = FlowPrior(SHAPE, bijector=partial(Glow, **SMALL))
    random(prior)
    cold = prior.sample(3, temperature=0.0, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(cold, prior.bijector.inverse(torch.zeros(3, 192))[0])
    warm = prior.sample(3, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(cold, warm)


def test_each_row_and_each_level_may_have_a_temperature(flow):
    z = torch.randn(4, 192)
    scaled = z * torch.tensor([0.0, 0.5, 0.7, 1.0])[:, None]
    torch.testing.assert_close(flow.inverse(scaled)[0][3], flow.inverse(z)[0][3])
    parts = levels(flow, z)
    assert [tuple(part.shape[1:]) for part in parts] == [(6, 4, 4), (24, 2, 2)]
    mixed = joined(flow, [0.0 * parts[0], parts[1]])
    assert torch.equal(levels(flow, mixed)[1], parts[1])
    assert not torch.equal(flow.inverse(mixed)[0], flow.inverse(z)[0])


# 6, 7, 8, 9, 10: state


def test_no_batch_size_is_in_the_state(flow, images):
    assert not any(32 in value.shape for value in flow.state_dict().values())
    for rows in (1, 3, 32):
        assert flow(images[:rows])[0].shape == (rows, 192)


def test_a_shuffle_is_saved(images):
    flow = Glow(SHAPE, **SMALL, mixing="shuffle")
    orders = [value for key, value in flow.state_dict().items() if key.endswith("order")]
    assert len(orders) == 4
    assert not torch.equal(orders[0], orders[1])
    file = io.BytesIO()
    torch.save(flow.state_dict(), file)
    file.seek(0)
    other = Glow(SHAPE, **SMALL, mixing="shuffle")
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(other(images)[0], flow(images)[0])


@pytest.mark.parametrize("shape", [(1, 8, 8), (2, 16, 8), (3, 4, 12), (5, 4, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_channels_and_sides_come_back(shape, dtype):
    flow = Glow(shape, **SMALL).to(dtype)
    x = torch.rand(6, *shape, dtype=dtype)
    flow.initialize(x)
    random(flow)
    z, logdet = flow(x)
    back, other = flow.inverse(z)
    tolerance = 5e-6 if dtype is torch.float32 else 1e-12
    torch.testing.assert_close(back, x, rtol=0, atol=tolerance)
    torch.testing.assert_close(logdet, -other, rtol=0, atol=200 * tolerance)


def test_it_can_be_copied_and_pickled(flow, images):
    for other in (copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert torch.equal(other(images)[0], flow(images)[0])


# 11: sizes


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 12, 8), r"height must be a multiple of 2\^levels = 8, got 12, which lacks a"),
        ((3, 8, 30), r"width must be .* got 30, which lacks a factor of 4. Pad to 32, or take 1 l"),
        ((8, 8), r"must be \(channels, height, width\), got \(8, 8\)"),
    ],
)
def test_a_size_that_does_not_divide_is_named_with_what_it_lacks(shape, words):
    with pytest.raises(ShapeError, match=words):
        Glow(shape, levels=3, steps=1)


def test_bad_options_are_refused():
    with pytest.raises(UsageError, match="levels and steps must be at least 1, got 0 and 2"):
        Glow(SHAPE, levels=0, steps=2)
    with pytest.raises(UsageError, match="context_to must be top or all, got 'none'"):
        Glow(SHAPE, context_to="none")
    with pytest.raises(UsageError, match="form must be one of plain, lu, qr, orthogonal, got 'u'"):
        invertible_conv((3,), form="u")
    with pytest.raises(UsageError, match="scale must be one of sigmoid2, exp_tanh, clamped"):
        ShiftScale("exp")
    with pytest.raises(UsageError, match=r"floor must lie in \[0, 1\)"):
        ShiftScale(floor=1.0)
    with pytest.raises(UsageError, match="form must be affine or additive"):
        GlowCoupling((4,), form="cubic")
    with pytest.raises(UsageError, match="edge_bias must be none, last or all"):
        GlowNet((2, 4, 4), (2, 2, 4, 4), edge_bias="some")
    with pytest.raises(UsageError, match="hidden must be at least 1"):
        GlowNet((2, 4, 4), (2, 2, 4, 4), hidden=0)


# 12: the caller's batch


def test_the_batch_of_the_caller_is_left_alone(flow, images):
    before = images.clone()
    flow(images), flow.initialize(images)
    assert torch.equal(images, before)


# 16: scales


@pytest.mark.parametrize("scale", ["sigmoid2", "exp_tanh", "clamped"])
def test_no_raw_scale_makes_the_map_or_its_inverse_infinite(scale):
    raw = torch.tensor([-1e4, -200.0, -90.0, 0.0, 90.0, 1e4])[None]
    params = torch.stack((raw, torch.zeros_like(raw)), dim=1)
    univariate = ShiftScale(scale)
    z, log_slope = univariate.forward(torch.ones(1, 6), params)
    x, _ = univariate.inverse(torch.ones(1, 6), params)
    assert bool(z.isfinite().all() & x.isfinite().all() & log_slope.isfinite().all())
    assert float(log_slope.min()) >= math.log(1e-3) - 1e-6
    compatible = ShiftScale("sigmoid2", floor=0.0)
    assert bool(compatible.forward(torch.ones(1, 6), params)[1].isfinite().all())


def test_the_scale_of_zero_is_that_of_glow():
    z, log_slope = ShiftScale(floor=0.0).forward(torch.ones(1, 1), torch.zeros(1, 2, 1))
    assert z.item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert log_slope.item() == pytest.approx(math.log(z.item()))


# what folding must not change


@pytest.mark.parametrize("rows", [1, 16])  # one row: scales of outputs; many: of kernels
@pytest.mark.parametrize("form", ["lu", "plain", "qr", "orthogonal", None])
def test_a_folded_step_is_its_members_one_after_the_other(form, rows):
    mixing = partial(invertible_conv, form=form) if form else "glow.permute"
    if form is None:
        from corekit_glow.permute import GlowPermute as mixing
    step = FlowStep((6, 4, 4), mixing=mixing, coupling=partial(GlowCoupling, hidden=8)).double()
    redraw(step)
    plain = Chain((6, 4, 4), of=list(step))
    x = torch.randn(rows, 6, 4, 4, dtype=torch.float64)
    z, logdet = step(x)
    want, want_logdet = plain(x)
    torch.testing.assert_close(z, want)
    torch.testing.assert_close(logdet, want_logdet)
    torch.testing.assert_close(step.inverse(z)[0], x)
    torch.testing.assert_close(step.inverse(z)[1], -logdet)


@pytest.mark.parametrize("actnorm", [True, False])
@pytest.mark.parametrize("rows", [1, 64])
def test_a_network_is_its_layers_written_out(actnorm, rows):
    net = GlowNet((2, 4, 4), (2, 3, 4, 4), hidden=5, actnorm=actnorm, edge_bias="all").double()
    redraw(net)
    x = torch.randn(rows, 2, 4, 4, dtype=torch.float64)

    def hidden(layer, x):
        side = layer.padding
        ring = pad(torch.zeros(len(x), 1, 4, 4).double(), [side] * 4, value=1.0)
        y = conv2d(pad(x, [side] * 4), layer.weight)
        if layer.edge is not None:
            y = y + conv2d(ring, layer.edge)
        if layer.norm is None:
            return y + layer.bias[:, None, None]
        return (y + layer.norm.shift) * layer.norm.log_scale.exp()

    h = hidden(net.second, hidden(net.first, x).relu()).relu()
    ring = pad(torch.zeros(rows, 1, 4, 4).double(), [1] * 4, value=1.0)
    y = conv2d(pad(h, [1] * 4), net.last.weight) + conv2d(ring, net.last.edge)
    y = (y + net.last.bias[:, None, None]) * (3 * net.last.logs).exp()[:, None, None]
    torch.testing.assert_close(net(x), y.reshape(rows, 2, 3, 4, 4))


# conditions


def test_a_class_moves_the_deepest_level_alone(images):
    flow = random(Glow(SHAPE, (5,), **SMALL), 0.2)
    one, two = (one_hot(torch.full((32,), c), 5).float() for c in (0, 3))
    (a, _), (b, _) = flow(images, one), flow(images, two)
    (left, top), (other, moved) = levels(flow, a), levels(flow, b)
    assert torch.equal(left, other)
    assert not torch.equal(top, moved)
    deep = random(Glow(SHAPE, (5,), context_to="all", **SMALL), 0.2)
    (left, _), (other, _) = (levels(deep, deep(images, c)[0]) for c in (one, two))
    assert not torch.equal(left, other)


def test_without_a_learned_top_a_condition_is_left_aside_by_nothing(images):
    flow = Glow(SHAPE, (5,), learn_top=False, **SMALL)
    assert flow.context_shape == (5,)
    prior = FlowPrior(SHAPE, {"vector": (5,)}, bijector=partial(Glow, learn_top=False, **SMALL))
    condition = Condition(vector=torch.rand(2, 5))
    assert prior.sample(2, condition).shape == (2, *SHAPE)


# memory and precision


def test_recomputing_changes_no_gradient_and_keeps_less(images):
    flow = random(Glow(SHAPE, levels=2, steps=4, hidden=32)).train()

    def run():
        kept = {}
        own = {p.untyped_storage().data_ptr() for p in flow.parameters()}

        def pack(t):
            if t.untyped_storage().data_ptr() not in own:
                kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        flow.zero_grad()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            z, logdet = flow(images)
        (0.5 * z.square().sum(1) - logdet).mean().backward()
        return sum(kept.values()), {k: p.grad.clone() for k, p in flow.named_parameters()}

    plain, want = run()
    recompute_activations(flow)
    less, got = run()
    assert less < plain / 5
    assert all(torch.equal(got[k], want[k]) for k in want)


def test_networks_in_bf16_train_near_float32_and_decode_in_it(images):
    flow = random(Glow(SHAPE, **SMALL))
    half = Glow(SHAPE, **SMALL, net_dtype="bf16")
    half.load_state_dict(flow.state_dict())
    z, logdet = half.train()(images)
    want, want_logdet = flow(images)
    assert z.dtype is logdet.dtype is torch.float32
    assert not torch.equal(z, want)
    torch.testing.assert_close(logdet, want_logdet, rtol=0.05, atol=1.0)
    with torch.no_grad():
        assert torch.equal(half(images)[0], want)
    z, _ = half.eval()(images)
    torch.testing.assert_close(half.inverse(z)[0], images, rtol=0, atol=5e-6)


@pytest.mark.parametrize("mixing", ["lu", "plain"])
def test_frozen_kernels_are_those_of_the_weights_as_they_are(images, mixing):
    flow = random(Glow(SHAPE, **SMALL, mixing=mixing)).eval()
    z = torch.randn(32, 192)
    with torch.no_grad():
        want, made = flow(images), flow.inverse(z)
        with flow.frozen():
            for _ in range(2):
                for got, expected in ((flow(images), want), (flow.inverse(z), made)):
                    assert torch.equal(got[0], expected[0])
                    assert torch.equal(got[1], expected[1])
            random(flow)
            moved, back = flow(images), flow.inverse(z)
        assert torch.equal(moved[0], flow(images)[0])
        assert torch.equal(back[0], flow.inverse(z)[0])
        assert not torch.equal(moved[0], want[0])
