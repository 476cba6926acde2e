"""The gated residual network: its formula, its dropout, its place in a coupling."""

from functools import partial

import pytest
import torch
from corekit_glow.coupling import GlowCoupling
from corekit_glow.flow import Glow
from corekit_glow.gated import GatedResNet
from torch.nn.functional import conv2d

from corekit.build import component
from corekit.errors import ShapeError, UsageError
from corekit.nn.recompute import recompute_activations
from corekit.spec import spec_class
from corekit.testing.case import redraw

IN, OUT = (2, 4, 6), (2, 3, 4, 6)
NET = partial(GatedResNet, hidden=4, blocks=2)


def net(context=None, **options):
    found = NET(IN, OUT, context, **options).double()
    redraw(found)
    return found.eval()


def images(n=3):
    return torch.randn(n, *IN, dtype=torch.float64)


def both_signs(x):
    negative = torch.where(x > 0, x, x.exp() - 1), torch.where(-x > 0, -x, (-x).exp() - 1)
    return torch.cat(negative, dim=1)


def restated(state, x, context=None):
    """The network as formulas of its tensors."""

    def conv(name, x):
        weight = state[f"{name}.weight"]
        return conv2d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    h = conv("first", x)
    for i in range(2):
        u = conv(f"blocks.{i}.first", both_signs(h))
        if context is not None:
            u = u + (context.flatten(1) @ state[f"blocks.{i}.context.weight"].T)[:, :, None, None]
        a, b = conv(f"blocks.{i}.second", both_signs(u)).chunk(2, dim=1)
        h = h + a / (1 + (-b).exp())
        centred = h - h.mean(1, keepdim=True)
        h = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
        scale, bias = (state[f"blocks.{i}.{k}"][:, None, None] for k in ("scale", "bias"))
        h = h * scale + bias
    y = conv("last", both_signs(h)) * (3 * state["last.logs"]).exp()[:, None, None]
    return y.reshape(len(x), *OUT)


@pytest.mark.parametrize("context", [None, (2,), (2, 2)])
@pytest.mark.parametrize("rows", [1, 3])
def test_it_is_its_formula(context, rows):
    found, x = net(context), images(rows)
    given = None if context is None else torch.randn(rows, *context, dtype=torch.float64)
    state = {k: v.detach().clone().requires_grad_() for k, v in found.named_parameters()}
    y, want = found(x, given), restated(state, x, given)
    torch.testing.assert_close(y, want, rtol=1e-10, atol=1e-10)
    y.square().sum().backward()
    want.square().sum().backward()
    for name, parameter in found.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad, rtol=1e-9, atol=1e-9)


def test_a_new_one_gives_zeros_and_can_leave_them():
    found = NET(IN, OUT)
    y = found(torch.randn(3, *IN))
    assert not y.any()
    (y - 1).square().sum().backward()
    assert bool(found.last.weight.grad.any())


def test_dropout_is_of_training_alone_and_keeps_the_mean():
    found, x = net(dropout=0.3), images(1)
    plain = net()
    plain.load_state_dict(found.state_dict())
    assert torch.equal(found(x), plain(x))
    found.train()
    assert not torch.equal(found(x), found(x))
    block = found.blocks[0]
    h = torch.randn(1, 4, 4, 6, dtype=torch.float64)
    block.second.weight.data[4:] = 0  # the gate is constant: what is left is linear in dropout
    seen = []
    block.second.register_forward_hook(lambda module, given, made: seen.append(given[0].detach()))
    for _ in range(2000):
        block(h, None)
    block.eval()
    block(h, None)
    *dropped, whole = seen
    share = torch.stack(dropped).eq(0).double().mean()
    assert float(share) == pytest.approx(0.3, abs=0.02)
    torch.testing.assert_close(torch.stack(dropped).mean(0), whole, rtol=0, atol=0.15)


def test_it_is_the_net_of_a_coupling_by_its_name():
    spec = spec_class("bijector", "glow.coupling").model_validate(
        {"net": {"type": "glow.gated_resnet", "hidden": 6, "blocks": 2}}
    )
    layer = component("bijector", spec, event_shape=(4, 4, 4), context_shape=(3,))
    assert isinstance(layer, GlowCoupling)
    assert isinstance(layer.net, GatedResNet)
    assert len(layer.net.blocks) == 2
    redraw(layer.double())
    x, c = torch.randn(3, 4, 4, 4).double(), torch.randn(3, 3).double()
    z, logdet = layer(x, c)
    back, other = layer.inverse(z, c)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -logdet)
    assert not torch.equal(layer(x, c + 1)[0], z)


def test_a_glow_of_them_comes_back_and_recomputes_the_same_with_dropout():
    flow = Glow((3, 8, 8), levels=2, steps=2, net=partial(NET, dropout=0.2)).double()
    x = torch.randn(6, 3, 8, 8, dtype=torch.float64)
    flow.initialize(x)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    flow.eval()
    z, logdet = flow(x)
    back, other = flow.inverse(z)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(other, -logdet)

    def gradients():
        flow.train().zero_grad()
        torch.manual_seed(1)
        z, logdet = flow(x)
        (0.5 * z.square().sum() - logdet.sum()).backward()
        return [parameter.grad.clone() for parameter in flow.parameters()]

    kept = gradients()
    recompute_activations(flow)
    for one, again in zip(kept, gradients(), strict=True):
        torch.testing.assert_close(one, again)


@pytest.mark.parametrize("option", [{"hidden": 0}, {"blocks": 0}, {"dropout": 1.0}])
def test_bad_options_are_refused(option):
    with pytest.raises(UsageError, match="GatedResNet: hidden and blocks must be at least 1"):
        GatedResNet(IN, OUT, **option)


def test_vectors_are_refused():
    with pytest.raises(ShapeError, match="GatedResNet: in_shape must be"):
        GatedResNet((4,), (2, 4))
    spec = spec_class("network", "glow.gated_resnet")()
    with pytest.raises(ShapeError, match=r"glow.gated_resnet: the event must be \(channels"):
        spec.shape((4,), (2, 4))
