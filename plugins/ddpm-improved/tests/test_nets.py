"""The perceptron and the transformer: what they refuse, what they see, and in which precision."""

from functools import partial

import pytest
import torch
from corekit_ddpm_improved.dit import DiT, positions
from corekit_ddpm_improved.mlp import MlpDenoiser
from corekit_ddpm_improved.net_specs import DiTSpec, MlpSpec
from corekit_ddpm_improved.unet import UNet
from pydantic import ValidationError
from torch import nn

from corekit.diffusion.schedules import Rectified
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition

MLP = partial(MlpDenoiser, (3,), hidden=8, depth=2)
DIT = partial(DiT, (2, 4, 6), hidden=8, depth=2, heads=2)
UNET = partial(UNet, (1, 4, 4), channels=2, multipliers=(1, 1), blocks=1, heads=1)
NETS = [MLP, DIT, UNET]


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def awake(net):
    """The same net with no weight at zero."""
    with torch.no_grad():
        for i, parameter in enumerate(net.parameters()):
            parameter.add_(0.3 * normal(*parameter.shape, seed=i))
    return net


def level_at(*times, dtype=torch.float32):
    return Rectified().at(torch.tensor(times, dtype=dtype))


@pytest.mark.parametrize("make", [MLP, DIT])
def test_a_new_one_says_nothing(make):
    net = make()
    assert not net(normal(2, *net.event_shape), level_at(0.2, 0.7)).any()


@pytest.mark.parametrize("make", NETS)
def test_recomputing_gives_the_same_gradients_with_dropout(make):
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        net = awake(make(dropout=0.5)).train()
        net.recompute = recompute
        x = normal(5, *net.event_shape, seed=9).requires_grad_()
        torch.manual_seed(1)
        net(x, level_at(0.1, 0.3, 0.5, 0.7, 0.9)).square().sum().backward()
        gradients.append([x.grad, *(p.grad for p in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("make", NETS)
def test_recomputing_calls_every_block_twice(make):
    net, calls = make().train(), []
    blocks = getattr(net, "layers", None) or getattr(net, "blocks", None) or net.down
    for block in blocks:
        block.register_forward_pre_hook(lambda *given: calls.append(1))
    net.recompute = True
    net(normal(2, *net.event_shape), level_at(0.2, 0.7)).sum().backward()
    assert len(calls) == 2 * len(blocks)


@pytest.mark.parametrize("make", NETS)
def test_double_precision_is_double_and_half_is_near(make):
    net = awake(make())
    x = normal(4, *net.event_shape)
    times = (0.1, 0.4, 0.7, 0.9)
    single, double, half = (
        net.to(d)(x.to(d), level_at(*times, dtype=torch.promote_types(d, torch.float32)))
        for d in (torch.float32, torch.float64, torch.bfloat16)
    )
    assert (single.dtype, double.dtype, half.dtype) == (
        torch.float32,
        torch.float64,
        torch.bfloat16,
    )
    assert not torch.equal(double, double.float().double())
    torch.testing.assert_close(single.double(), double, atol=1e-4, rtol=1e-4)
    assert (half.double() - double).square().mean() < 0.01 * double.var()


@pytest.mark.parametrize("make", NETS)
def test_half_precision_tells_neighbouring_times_apart(make):
    """998 and 999 of 1000 steps are one number in bfloat16."""
    net = awake(make()).bfloat16()
    x = normal(1, *net.event_shape).bfloat16()
    assert torch.tensor(998.0).bfloat16() == torch.tensor(999.0).bfloat16()
    first, second = (net(x, level_at(time)) for time in (0.998, 0.999))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("make", [MLP, DIT])
def test_an_earlier_estimate_is_seen_and_none_is_zeros(make):
    net = awake(make(self_condition=True))
    x, level = normal(2, *net.event_shape), level_at(0.2, 0.7)
    alone = net(x, level)
    torch.testing.assert_close(net(x, level, previous=torch.zeros_like(x)), alone)
    assert not torch.allclose(net(x, level, previous=normal(*x.shape, seed=1)), alone)
    plain = awake(make())
    assert torch.equal(plain(x, level, previous=x), plain(x, level))


@pytest.mark.parametrize("make", [MLP, DIT])
def test_no_class_is_not_a_class(make):
    net = awake(make({"labels": ()}, classes=2))
    x, level = normal(3, *net.event_shape)[:1].expand(3, *net.event_shape), level_at(*[0.5] * 3)
    first, second, none = net(x, level, Condition(labels=torch.tensor([0, 1, -1])))
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, none)
    with pytest.raises(UsageError, match=r"must be below classes = 2, got 7") as caught:
        net(x, level, Condition(labels=torch.tensor([0, 1, 7])))
    assert str(caught.value).startswith(type(net).__name__)


def test_patches_come_back_to_their_place():
    """With new blocks, which do nothing, a patch of the output sees its own patch alone."""
    net = DIT()
    nn.init.normal_(net.head.weight)
    x = normal(1, 2, 4, 6).requires_grad_()
    out = net(x, level_at(0.5))
    for row in range(2):
        for column in range(3):
            window = (..., slice(2 * row, 2 * row + 2), slice(2 * column, 2 * column + 2))
            (grad,) = torch.autograd.grad(out[window].square().sum(), x, retain_graph=True)
            inside = grad[window].clone()
            grad[window] = 0
            assert inside.abs().min() > 0
            assert not grad.any()


def test_a_patch_is_read_and_written_in_the_same_order():
    """Stem and head of an identity: the image comes back."""
    net = DiT((2, 4, 6), hidden=8, depth=1, heads=1)
    net.norm, net.stem.bias.data = nn.Identity(), torch.zeros(8)
    net.stem.weight.data = torch.eye(8).reshape(8, 2, 2, 2)
    net.head.weight.data, net.head.bias.data = torch.eye(8), torch.zeros(8)
    x = normal(1, 2, 4, 6)
    place = positions(net.grid, 8, x)[None]
    torch.testing.assert_close(net(x, level_at(0.5)), x + net._as_image(place))


def test_with_attention_a_patch_sees_all_others_and_its_place():
    net = awake(DIT())
    x = normal(1, 2, 4, 6).requires_grad_()
    (grad,) = torch.autograd.grad(net(x, level_at(0.5))[0, 0, 0, 0], x)
    assert grad.abs().min() > 0
    one = torch.ones(1, 2, 4, 6)
    out = net(one, level_at(0.5))
    corners = [out[0, :, i : i + 2, j : j + 2] for i in (0, 2) for j in (0, 2, 4)]
    assert all(
        not torch.allclose(a, b) for i, a in enumerate(corners) for b in corners[:i]
    )  # the same pixels, in another place


@pytest.mark.parametrize("grid", [(2, 3), (3, 2)])
def test_positions_are_rows_then_columns(grid):
    found = positions(grid, 8, torch.zeros(())).reshape(*grid, 8)
    assert torch.equal(found[0, :, :4], found[:1, :1, :4].expand(1, grid[1], 4)[0])
    assert torch.equal(found[:, 0, 4:], found[:1, :1, 4:].expand(grid[0], 1, 4)[:, 0])
    assert found[1, 0, 2].item() == pytest.approx(torch.sin(torch.tensor(1.0)).item())
    assert found[0, 1, 6].item() == pytest.approx(torch.sin(torch.tensor(1.0)).item())


@pytest.mark.parametrize("dropout", [0.0, 0.9])
@pytest.mark.parametrize("make", [MLP, DIT])
def test_dropout_is_for_training(make, dropout):
    net = awake(make(dropout=dropout))
    x, level = normal(2, *net.event_shape), level_at(0.2, 0.7)
    torch.testing.assert_close(net.eval()(x, level), net(x, level))
    net.train()
    assert torch.equal(net(x, level), net(x, level)) == (dropout == 0)


def test_what_they_cannot_take_is_refused():
    sizes = r"multiples of the patch, got \(4, 7\) and patches of 2: 7 lacks the factor 2"
    with pytest.raises(ShapeError, match=sizes):
        DiT((1, 4, 7))
    with pytest.raises(ShapeError, match=sizes):
        DiTSpec().shape((1, 4, 7), {}, 1)
    for build in (DiT, lambda event: DiTSpec().shape(event, {}, 1)):
        with pytest.raises(ShapeError, match=r"the event must be \(C, H, W\), got \(4,\)"):
            build((4,))
    for build in (MlpDenoiser, lambda event: MlpSpec().shape(event, {}, 1)):
        with pytest.raises(ShapeError, match=r"the event must be \(D,\), got \(2, 3\)"):
            build((2, 3))
    for build in (MLP, DIT):
        with pytest.raises(ShapeError, match="classes must meet the condition 'labels', got 3"):
            build(classes=3)
    for spec, event in ((MlpSpec, (3,)), (DiTSpec, (1, 4, 4))):
        with pytest.raises(ShapeError, match="classes must meet data with labels, got 3"):
            spec(classes=3).shape(event, {}, 1)
    with pytest.raises(ShapeError, match="out_channels must be 6, got 3"):
        MLP(out_channels=3, variance="log")
    with pytest.raises(ShapeError, match="out_channels must be 2, got 5"):
        DIT(out_channels=5)


def test_wrong_options_are_refused():
    with pytest.raises(UsageError, match="hidden must be at least 8 and depth at least 1, got 4"):
        MlpDenoiser((2,), hidden=4)
    with pytest.raises(UsageError, match=r"multiple of 4 and of the heads.* got 12 and 5 heads"):
        DiT((1, 4, 4), hidden=12, heads=5)
    with pytest.raises(ValidationError, match="heads must divide hidden = 12, got 5"):
        DiTSpec(hidden=12, heads=5)
    with pytest.raises(UsageError, match="patch and depth must be at least 1, got 0 and 4"):
        DiT((1, 4, 4), patch=0)
