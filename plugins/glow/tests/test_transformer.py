"""Flows of transformer blocks: what they may see, and that going back is one pass in all."""

from functools import partial

import pytest
import torch
from corekit_glow.flow import Glow
from corekit_glow.tarflow import Tarflow
from corekit_glow.transformer import TransformerBlock
from corekit_glow.transformer_layers import TransformerLayer

from corekit.errors import ShapeError, UsageError
from corekit.flows.multiscale import joined, levels
from corekit.flows.prior import FlowPrior
from corekit.interfaces.records import Condition
from corekit.nn.recompute import recompute_activations
from corekit.spec import spec_class
from corekit.testing.case import redraw

SHAPE = (2, 4, 6)
SMALL = {"patch": 2, "width": 8, "heads": 2, "layers": 2}
PATCHES = [(slice(2 * i, 2 * i + 2), slice(2 * j, 2 * j + 2)) for i in range(2) for j in range(3)]


def block(order="forward", context=None, **other):
    made = TransformerBlock(SHAPE, context, order=order, **{**SMALL, **other}).double()
    redraw(made)
    return made


def images(rows=3, shape=SHAPE):
    return torch.randn(rows, *shape, dtype=torch.float64)


def patch_by_patch(flow, z, context=None):
    """The inverse by its definition: each patch from a whole pass over those found so far."""
    x = torch.zeros_like(z)
    places = PATCHES[::-1] if flow.backward else PATCHES
    for rows, columns in places:
        # z is affine in a patch that nothing before it sees: two passes tell shift and scale.
        one = x.clone()
        one[:, :, rows, columns] = 1
        start, slope = (flow(value, context)[0][:, :, rows, columns].clone() for value in (x, one))
        x = x.clone()
        x[:, :, rows, columns] = (z[:, :, rows, columns] - start) / (slope - start)
    return x


@pytest.mark.parametrize("order", ["forward", "backward"])
def test_a_patch_of_z_depends_on_its_own_pixels_one_by_one_and_on_patches_before(order):
    flow, x = block(order), images(1)
    jacobian = torch.autograd.functional.jacobian(lambda value: flow(value)[0], x)[0, :, :, :, 0]
    last = len(PATCHES) - 1
    for i, (rows, columns) in enumerate(PATCHES):
        for j, (other_rows, other_columns) in enumerate(PATCHES):
            part = jacobian[:, rows, columns][..., other_rows, other_columns].reshape(8, 8)
            before = j < i if order == "forward" else last - j < last - i
            if i == j:
                assert torch.equal(part, torch.diag(part.diag()))
                assert bool((part.diag() > 0).all())
            elif before:
                assert bool((part != 0).all())
            else:
                assert not part.any()


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("order", ["forward", "backward"])
@pytest.mark.parametrize("context", [None, (3,)])
def test_what_is_kept_changes_nothing(order, context, gradient):
    flow, z = block(order, context), images()
    given = None if context is None else torch.randn(3, *context, dtype=torch.float64)
    with torch.set_grad_enabled(gradient):
        x, logdet = flow.inverse(z, given)
        again, other = flow(x, given)
        naive = patch_by_patch(flow, z, given)
    torch.testing.assert_close(x, naive, rtol=0, atol=1e-10)
    torch.testing.assert_close(again, z, rtol=0, atol=1e-10)
    torch.testing.assert_close(logdet, -other, rtol=0, atol=1e-10)


def test_gradients_of_the_inverse_are_those_of_its_definition():
    flow, z = block(), images().requires_grad_()
    weights = torch.randn_like(z)
    wanted = torch.autograd.grad((patch_by_patch(flow, z) * weights).sum(), [z, *flow.parameters()])
    found = torch.autograd.grad((flow.inverse(z)[0] * weights).sum(), [z, *flow.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("gradient", [True, False])
def test_going_back_passes_every_token_once(gradient):
    flow, z = block(), images()
    seen = []
    for module in flow.modules():
        if isinstance(module, TransformerLayer):
            module.register_forward_hook(lambda layer, given, out: seen.append(out.shape[1]))
    with torch.set_grad_enabled(gradient):
        flow.inverse(z)
    assert sum(seen) == len(PATCHES) * SMALL["layers"]


def test_a_new_block_is_the_identity():
    flow = TransformerBlock(SHAPE, (3,), **SMALL).double()
    x, context = images(), torch.randn(3, 3, dtype=torch.float64)
    for way in (flow, flow.inverse):
        z, logdet = way(x, context)
        assert torch.equal(z, x)
        assert not logdet.any()


def test_the_scale_is_bounded_where_it_is_asked_for():
    numbers = 2 * 4 * 6
    for bound, reached in ((0.5, 0.5 * numbers), (None, 20.0 * numbers)):
        flow = TransformerBlock(SHAPE, max_log_scale=bound, **SMALL).double()
        torch.nn.init.constant_(flow.last.bias, 20.0)
        logdet = flow(images())[1]
        torch.testing.assert_close(logdet, torch.full_like(logdet, -reached))


def test_every_patch_sees_the_context_the_first_one_too():
    flow, x = block(context=(3,)), images(1)
    one, two = (flow(x, value * torch.ones(1, 3, dtype=x.dtype))[0] for value in (0, 1))
    assert all(bool((one != two)[:, :, rows, columns].all()) for rows, columns in PATCHES)


def test_blocks_alternate_between_both_ends():
    flow = Tarflow(SHAPE, blocks=3, **SMALL)
    assert [member.backward for member in list(flow)[1:-1]] == [False, True, False]
    redraw(flow.double())
    x = images(1)
    jacobian = torch.autograd.functional.jacobian(lambda value: flow(value)[0], x)[0, :, 0]
    assert bool((jacobian != 0).all())


def test_it_stands_where_a_glow_stands():
    context = torch.randn(6, 3)
    for kind in (partial(Glow, levels=1, steps=1, hidden=4), partial(Tarflow, blocks=2, **SMALL)):
        prior = FlowPrior(SHAPE, {"vector": (3,)}, bijector=kind)
        x = 5 + 3 * torch.randn(6, *SHAPE)
        prior.initialize(x, Condition(vector=context))
        z, _ = prior.bijector(x, context)
        assert z.shape == (6, 48)
        assert joined(prior.bijector, levels(prior.bijector, z)).shape == z.shape
        drawn = prior.sample(condition=Condition(vector=context), temperature=0.0)
        assert drawn.shape == x.shape
        assert 2 < float(drawn.mean()) < 8  # from data in any range


def test_activations_can_be_computed_again():
    kept, again = (Tarflow(SHAPE, blocks=2, **SMALL).double().train() for _ in range(2))
    redraw(kept)
    again.load_state_dict(kept.state_dict())
    assert recompute_activations(again) == ["", "members.1", "members.2"]
    x = images()
    for flow in (kept, again):
        z, logdet = flow(x)
        (z.square().sum() - logdet.sum()).backward()
    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: TransformerBlock((4,)), ShapeError, r"must be \(channels, .* got \(4,\)"),
        (lambda: Tarflow((1, 28, 30)), ShapeError, "width must be .* patch, 4, got 30. Pad to 32"),
        (lambda: TransformerBlock((1, 4, 4), heads=3), UsageError, "got 4, 256, 3 and 4"),
        (lambda: TransformerBlock((1, 4, 4), layers=0), UsageError, "at least 1.* got 4, 256, 4"),
        (lambda: TransformerBlock((1, 4, 4), order="up"), UsageError, "backward, got 'up'"),
        (lambda: TransformerBlock((1, 4, 4), max_log_scale=0), UsageError, "positive, got 0"),
        (lambda: Tarflow((1, 4, 4), blocks=0), UsageError, "blocks must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


def test_a_spec_says_so_before_torch_is_needed():
    block_spec = spec_class("bijector", "glow.transformer_block")
    with pytest.raises(ValueError, match="width must be a multiple of heads, 3, got 256"):
        block_spec(heads=3)
    with pytest.raises(ShapeError, match="the height must be a multiple of the patch, 4, got 6"):
        spec_class("bijector", "glow.tarflow")().shape((1, 6, 4))
    assert spec_class("bijector", "glow.tarflow")().shape((3, 8, 4)) == (96,)
