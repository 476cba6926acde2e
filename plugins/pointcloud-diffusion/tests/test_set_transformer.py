"""SetTransformer: what it computes, what it does not look at, and what it is told."""

import pytest
import torch
from corekit_pointcloud_diffusion.denoiser import PointwiseNet
from corekit_pointcloud_diffusion.schedule import VarianceSchedule
from corekit_pointcloud_diffusion.set_transformer import SetTransformer
from torch.nn.functional import gelu, layer_norm

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition

SHAPES = {"vector": (5,), "labels": (), "points": (6, 3), "mask": (6,)}


def shaken(net):
    """The same network with random weights: gates that are zero hide mistakes."""
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return net.double().eval()


@pytest.fixture
def net():
    torch.manual_seed(0)
    small = {"hidden": 6, "tokens": 4, "width": 8, "depth": 2, "heads": 2, "frequencies": 2}
    return shaken(SetTransformer((9, 3), SHAPES, classes=3, **small))


def inputs(points=9):
    x = torch.randn(4, points, 3, dtype=torch.float64)
    level = VarianceSchedule().level(torch.tensor([0, 50, 100, 199]))
    level = level.map(lambda v: v.double() if v.is_floating_point() else v)
    condition = Condition(
        vector=torch.randn(4, 5, dtype=torch.float64),
        labels=torch.tensor([0, 2, -1, 1]),
        points=torch.randn(4, 6, 3, dtype=torch.float64),
        mask=torch.tensor([[True] * 6, [True, False] * 3, [False] * 6, [True] + [False] * 5]),
    )
    return x, level, condition


def by_hand(net, x, level, condition):
    """The docstring, one row and one head at a time."""

    def attend(part, a, b):
        q, (k, v) = part.q(a), part.kv(b).chunk(2, 1)
        size = q.shape[1] // part.heads
        heads = []
        for i in range(part.heads):
            columns = slice(i * size, (i + 1) * size)
            weight = (q[:, columns] @ k[:, columns].T / size**0.5).softmax(1)
            heads.append(weight @ v[:, columns])
        return part.out(torch.cat(heads, 1))

    def norm(a):
        return layer_norm(a, a.shape[-1:])

    def perceptron(part, a):
        return part.last(gelu(part.first(a), approximate="tanh"))

    rows = []
    context = net.context(level, condition, torch.float64)
    for row, c in enumerate(context):
        given = condition.points[row][condition.mask[row]]
        h = net.stem(net._features(x[row][None]))[0]
        h = torch.cat([h, net.stem(net._features(given[None]))[0] + net.flag])
        s = net.tokens
        for block in net.blocks:
            parts = block.steer(c).split(block.sizes)
            b, a, g = parts[0::3], parts[1::3], parts[2::3]
            s = s + g[0] * attend(block.read, (1 + a[0]) * norm(s) + b[0], norm(h))
            seen = (1 + a[1]) * norm(s) + b[1]
            s = s + g[1] * attend(block.think, seen, seen)
            s = s + g[2] * perceptron(block.token_mlp, (1 + a[2]) * norm(s) + b[2])
            h = h + g[3] * attend(block.write, (1 + a[3]) * norm(h) + b[3], norm(s))
            h = h + g[4] * perceptron(block.point_mlp, (1 + a[4]) * norm(h) + b[4])
        shift, scale = net.steer(c).chunk(2)
        out = net.head((1 + scale) * norm(h[: x.shape[1]]) + shift)
        rows.append(out + net.skip(c) * x[row])
    return torch.stack(rows)


def test_it_computes_what_its_docstring_says(net):
    x, level, condition = inputs()
    want = by_hand(net, x, level, condition)
    torch.testing.assert_close(net(x, level, condition), want, rtol=1e-11, atol=1e-11)


def test_a_point_comes_in_as_itself_and_its_sines(net):
    x = torch.tensor([[[0.3, -1.2, 2.0]]], dtype=torch.float64)
    want = torch.cat([x, x.sin(), (2 * x).sin(), x.cos(), (2 * x).cos()], 2)
    got = net._features(x)
    torch.testing.assert_close(got.sort(2).values, want.sort(2).values)
    torch.testing.assert_close(got[..., :3], x)


def test_points_interact_and_their_order_is_nothing(net):
    x, level, condition = inputs()
    whole = net(x, level, condition)
    order = torch.randperm(9)
    torch.testing.assert_close(net(x[:, order], level, condition), whole[:, order])
    other = torch.cat([x[:, :8], x[:, 8:] + 1], 1)
    assert (net(other, level, condition)[:, :8] - whole[:, :8]).abs().amax((1, 2)).min() > 1e-4
    assert net(inputs(points=30)[0], level, condition).shape == (4, 30, 3)


def test_given_points_have_no_order_and_masked_ones_no_influence(net):
    x, level, condition = inputs()
    whole = net(x, level, condition)
    order = torch.randperm(6)
    shuffled = condition._replace(points=condition.points[:, order], mask=condition.mask[:, order])
    torch.testing.assert_close(net(x, level, shuffled), whole)
    hidden = torch.where(condition.mask[:, :, None], condition.points, torch.nan)
    assert torch.equal(net(x, level, condition._replace(points=hidden)), whole)
    moved = net(x, level, condition._replace(points=condition.points + 1))
    changed = (moved - whole).abs().amax((1, 2)) > 1e-6
    assert changed.tolist() == [True, True, False, True]  # all of the third row is masked


def test_no_points_at_all_are_as_a_network_without_them(net):
    x, level, condition = inputs()
    nothing = condition._replace(mask=torch.zeros(4, 6, dtype=torch.bool))
    shapes = {"vector": (5,), "labels": ()}
    small = {"hidden": 6, "tokens": 4, "width": 8, "depth": 2, "heads": 2, "frequencies": 2}
    without = SetTransformer((9, 3), shapes, classes=3, **small).double()
    without.load_state_dict({k: v for k, v in net.state_dict().items() if k != "flag"})
    torch.testing.assert_close(net(x, level, nothing), without(x, level, condition))


def test_a_given_point_is_not_a_noisy_one(net):
    x, level, condition = inputs()
    whole = net(x, level, condition)
    with torch.no_grad():
        net.flag[0] += 1  # the same for all features would be lost in the norm
    changed = (net(x, level, condition) - whole).abs().amax((1, 2)) > 1e-6
    assert changed.tolist() == [True, True, False, True]


@pytest.mark.parametrize("make", [SetTransformer, PointwiseNet])
def test_no_class_has_numbers_of_its_own_and_unknown_ones_are_refused(make):
    torch.manual_seed(0)
    net = shaken(make((9, 3), {"labels": ()}, classes=3))
    x, level, _ = inputs()
    x, level = x[:1].expand(4, -1, -1), level.map(lambda v: v[:1].expand(4))
    outputs = net(x, level, Condition(labels=torch.tensor([-1, 0, 1, 2])))
    assert all((outputs[i] - outputs[j]).abs().max() > 1e-6 for i in range(4) for j in range(i))
    dropped = Condition(labels=torch.tensor([0, 0, 1, 2])).drop(torch.ones(4, dtype=torch.bool))
    torch.testing.assert_close(net(x, level, dropped), outputs[:1].expand(4, -1, -1))
    with pytest.raises(UsageError, match="labels must be below classes = 3, got 3"):
        net(x, level, Condition(labels=torch.tensor([-1, 0, 1, 3])))


def test_the_class_stands_beside_time_and_latent_in_the_context_of_pointwise():
    net = shaken(PointwiseNet((9, 3), {"vector": (5,), "labels": ()}, hidden=(4,), classes=3))
    _, level, condition = inputs()
    want = torch.cat([net._embed(level), condition.vector, net.label.weight[[1, 3, 0, 2]]], 1)
    assert torch.equal(net._context(level, condition, torch.float64), want)


def test_a_new_network_says_nothing_and_learned_variances_have_a_half_of_their_own():
    torch.manual_seed(0)
    net = SetTransformer((9, 2), variance="range", hidden=8, width=8).double()
    x, level, _ = inputs()
    assert not net(x[..., :2], level).any()
    with torch.no_grad():
        net.skip.bias.fill_(2.0)
    mean, rest = net(x[..., :2], level).chunk(2, 2)
    torch.testing.assert_close(mean, 2 * x[..., :2])
    assert not rest.any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"\(points, dimensions\), got \(3,\)"):
        SetTransformer((3,))
    with pytest.raises(ShapeError, match="out_channels must be 3, got 6"):
        SetTransformer((9, 3), out_channels=6)
    with pytest.raises(ShapeError, match=r"with a mask \(K,\), got \(6, 3\) and None"):
        SetTransformer((9, 3), {"points": (6, 3)})
    with pytest.raises(ShapeError, match=r"got \(6, 2\) and \(6,\)"):
        SetTransformer((9, 3), {"points": (6, 2), "mask": (6,)})
    with pytest.raises(ShapeError, match=r"got \(6, 3\) and \(5,\)"):
        SetTransformer((9, 3), {"points": (6, 3), "mask": (5,)})
    with pytest.raises(ShapeError, match="classes must meet the condition 'labels', got 3"):
        SetTransformer((9, 3), classes=3)
    with pytest.raises(UsageError, match="multiples of the heads, and width even, got 6 and 128"):
        SetTransformer((9, 3), hidden=6)
    with pytest.raises(UsageError, match="width even, got 9 and 9 for 3 heads"):
        SetTransformer((9, 3), hidden=9, width=9, heads=3)
    with pytest.raises(UsageError, match="must be at least 1, and frequencies at least 0, got 64"):
        SetTransformer((9, 3), depth=0)
