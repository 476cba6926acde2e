"""MADE and the autoregressive flows made of it."""

from functools import partial
from math import e, log

import pytest
import torch
from corekit_realnvp.autoregressive import Autoregressive, Iaf, Maf
from corekit_realnvp.made import Made
from corekit_realnvp.masks import (
    adjacency_masks,
    degree_mask,
    hidden_degrees,
    ranks,
    topological_ranks,
)
from corekit_realnvp.splines import RationalQuadratic

from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine
from corekit.interfaces.network import Network
from corekit.nn.mlp import Mlp
from corekit.testing import parametrize_checks


@parametrize_checks("bijector", "realnvp.autoregressive")
def test_promises(check):
    check()


@parametrize_checks("bijector", "realnvp.maf")
def test_promises_of_maf(check):
    check()


@parametrize_checks("bijector", "realnvp.iaf")
def test_promises_of_iaf(check):
    check()


@parametrize_checks("network", "realnvp.made")
def test_promises_of_made(check):
    check()


def random(layer, seed=0):
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return layer.double()


@pytest.mark.parametrize(
    ("features", "hidden", "outputs"), [(1, 4, 2), (2, 5, 2), (5, 8, 3), (7, 16, 2)]
)
def test_masks_are_those_of_the_paper(golden, features, hidden, outputs):
    arrays = golden("masks")
    units, inputs = hidden_degrees(features, hidden), [i + 1 for i in ranks(features, "sequential")]
    out = [degree for degree in inputs for _ in range(outputs)]
    for name, mask in {
        "mask_in": degree_mask(units, inputs, strict=False),
        "mask_hidden": degree_mask(units, units, strict=False),
        "mask_out": degree_mask(out, units, strict=True),
    }.items():
        assert torch.tensor(mask).tolist() == arrays[f"F{features}_{name}"].bool().tolist(), name
    assert units == arrays[f"F{features}_deg_hidden"].tolist()


def test_orders():
    assert ranks(3, "reversed") == [2, 1, 0]
    assert ranks(9, "random", 1) == ranks(9, "random", 1) != ranks(9, "random", 2)
    assert ranks(3, (1, 2, 0)) == [1, 2, 0]


def test_masks_of_an_adjacency(golden):
    arrays = golden("masks")
    for i, mask in enumerate(adjacency_masks(arrays["adj5"].tolist(), (8, 8), 2)):
        assert torch.tensor(mask).tolist() == arrays[f"adj5_mask{i}"].bool().tolist()


@pytest.mark.parametrize(
    ("name", "affine"),
    [
        ("exp", Affine("exp", None)),
        ("softclip", Affine("softclip", -log(1e-3))),
    ],
)
def test_affine_maps_of_other_libraries(golden, name, affine):
    arrays = golden("maf")
    params = arrays["params"].movedim(-1, 1)
    y, log_slope = affine.forward(arrays["x"], params)
    torch.testing.assert_close(y, arrays[f"{name}_y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(log_slope.sum(1), arrays[f"{name}_logdet"], rtol=1e-10, atol=1e-12)


def test_the_softplus_scale_of_nflows(golden):
    """Ours is shifted so that zeros are the identity; but for that it is the same."""
    arrays = golden("maf")
    raw, shift = arrays["params"].unbind(-1)
    params = torch.stack((raw - log(e - 1), shift), dim=1)
    y, log_slope = Affine("softplus").forward(arrays["x"], params)
    torch.testing.assert_close(y, arrays["softplus_eps_y"], rtol=1e-10, atol=1e-12)
    want = arrays["softplus_eps_logdet"]
    torch.testing.assert_close(log_slope.sum(1), want, rtol=1e-10, atol=1e-12)


class Tables(Network):
    """The golden network as it stands: unsorted hidden units, parameters of a feature together."""

    autoregressive = True

    def __init__(self, arrays):
        super().__init__((6,), (2, 6), None)
        self.arrays, self.rounds = arrays, 6
        self.register_buffer("rank", torch.arange(6))

    def _forward(self, x, context):
        for i in range(3):
            x = x @ (self.arrays[f"W{i}"] * self.arrays[f"mask{i}"]).T + self.arrays[f"b{i}"]
            x = x if i == 2 else torch.tanh(x)
        return x.reshape(-1, 6, 2).movedim(-1, 1)


def test_a_whole_maf_layer_and_its_inverse(golden):
    arrays = golden("maf")
    net = Tables(arrays)
    torch.testing.assert_close(net(arrays["x"]), arrays["params"].movedim(-1, 1))
    layer = Autoregressive((6,), univariate=Affine("exp", None), net=lambda **_: net)
    y, logdet = layer(arrays["x"])
    torch.testing.assert_close(y, arrays["exp_y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(logdet, arrays["exp_logdet"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(layer.inverse(y)[0], arrays["x"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("order", ["sequential", "reversed", "random"])
@pytest.mark.parametrize("context_shape", [None, (3,)])
@pytest.mark.parametrize("options", [{}, {"blocks": 2, "activate_context": True}])
def test_the_inverse_by_units_is_the_inverse_by_passes(order, context_shape, options):
    made = partial(Made, hidden=(16, 13), order=order, seed=5, **options)
    layer = random(Autoregressive((6,), context_shape, univariate=RationalQuadratic(4), net=made))
    z = torch.randn(4, 6, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(4, 3, dtype=torch.float64)
    fast, fast_logdet = layer.inverse(z, context)
    layer.net.sorted = False
    slow, slow_logdet = layer.inverse(z, context)
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(fast_logdet, slow_logdet, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "units"), [({"hidden": (64, 64)}, 128), ({"hidden": (64,), "blocks": 2}, 4 * 64)]
)
def test_every_hidden_unit_is_computed_once(options, units):
    """The arithmetic of the inverse is that of about one pass, not one per feature."""
    layer = random(Autoregressive((20,), net=partial(Made, **options)))
    seen = []
    layer.net.activation.register_forward_hook(lambda _, args, out: seen.append(out.shape[0]))
    with torch.no_grad():
        layer.inverse(torch.randn(3, 20, dtype=torch.float64))
    assert sum(seen) == units


@pytest.mark.parametrize("options", [{"hidden": (8, 8)}, {"hidden": (6,), "blocks": 1}])
def test_gradients_go_through_the_inverse(options):
    layer = random(Autoregressive((4,), net=partial(Made, **options)))
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: layer.inverse(z), (z,))
    assert torch.autograd.gradgradcheck(lambda z: layer.inverse(z)[1], (z,))


@pytest.mark.parametrize("order", ["sequential", "reversed", (2, 0, 3, 1)])
def test_every_feature_depends_on_the_context_and_on_all_before(order):
    """In nflows the first feature does not see the context."""
    made = random(Made((4,), (1, 4), (2,), hidden=(16, 16), order=order))
    x = torch.randn(1, 4, dtype=torch.float64)
    by_x, by_context = torch.autograd.functional.jacobian(
        lambda x, c: made(x, c)[0, 0], (x, torch.randn(1, 2, dtype=torch.float64))
    )
    assert bool((by_context != 0).all())
    rank = made.rank
    assert torch.equal(by_x[:, 0] != 0, rank[None, :] < rank[:, None])


def test_the_first_feature_can_be_kept_from_the_context():
    made = random(Made((4,), (1, 4), (2,), hidden=(16,), blocks=1, first_sees_context=False))
    x, context = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    by_context = torch.autograd.functional.jacobian(lambda c: made(x, c)[0, 0], context)[:, 0]
    assert not by_context[0].any()
    assert bool((by_context[1:] != 0).all())


def test_residual_blocks_are_added_to_what_one_layer_computes():
    """By hand, and a block that adds nothing leaves a map that is linear in x."""
    made = random(Made((3,), (2, 3), (2,), hidden=(5,), blocks=1, activate_context=True))
    x, c = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    h = made.layers[0](x) + torch.relu(made.context(c))
    inside = made.layers[1](torch.relu(h)) + made.block_contexts[0](c)
    want = made.layers[3](h + made.layers[2](torch.relu(inside)))
    torch.testing.assert_close(made(x, c).flatten(1), want)
    assert made.context.bias is not None
    torch.nn.init.zeros_(made.layers[2].weight)
    torch.testing.assert_close(made(x, c) + made(-x, c), 2 * made(0 * x, c))


def test_a_new_block_hardly_changes_what_passes():
    made = Made((6,), (2, 6), hidden=(16,), blocks=3, zero_last=False)
    h = made.layers[0](x := torch.randn(5, 6))
    torch.testing.assert_close(made(x).flatten(1), made.layers[-1](h), rtol=0, atol=0.05)
    assert bool(made.layers[2].weight.any())


def test_one_feature_is_a_learned_constant():
    layer = random(Maf((1,), hidden=(4,)))
    x = torch.randn(5, 1, dtype=torch.float64)
    z, logdet = layer(x)
    assert logdet.unique().numel() == 1
    torch.testing.assert_close(layer.inverse(z)[0], x)


def test_sampling_an_iaf_is_one_pass():
    layer = random(Iaf((6,), hidden=(16,)))
    calls = []
    layer.of.net.register_forward_hook(lambda *_: calls.append(1))
    layer.inverse(torch.randn(3, 6, dtype=torch.float64))
    assert calls == [1]


def test_a_state_dict_of_another_order_is_refused():
    one, other = (Made((6,), (2, 6), order="random", seed=seed) for seed in (0, 1))
    with pytest.raises(UsageError, match="must have the order of the network"):
        other.load_state_dict(one.state_dict())


def test_bad_arguments_are_refused():
    with pytest.raises(ShapeError, match=r"net must be autoregressive .*, got Mlp"):
        Autoregressive((4,), net=Mlp)
    with pytest.raises(ShapeError, match=r"in_shape must be \(D,\)"):
        Maf((3, 4))
    with pytest.raises(UsageError, match="order must be sequential, reversed, random or a list"):
        Maf((4,), order="shuffled")
    with pytest.raises(UsageError, match=r"a place from 0 to 3, got \[0, 1, 1, 2\]"):
        Maf((4,), order=(0, 1, 1, 2))
    with pytest.raises(ShapeError, match="adjacency must be 4 rows of 4, got 2 rows of 2"):
        Made((4,), (2, 4), adjacency=((0, 1), (0, 0)))
    with pytest.raises(UsageError, match="blocks must be 0 with an adjacency, got 2"):
        Made((2,), (2, 2), adjacency=((0, 0), (1, 0)), blocks=2)
    with pytest.raises(UsageError, match="no circle"):
        Made((2,), (2, 2), adjacency=((0, 1), (1, 0)))
    with pytest.raises(ShapeError, match="must let some feature see another"):
        Made((2,), (2, 2), adjacency=((0, 0), (0, 0)))
    assert topological_ranks(((0, 0), (1, 0))) == [0, 1]
