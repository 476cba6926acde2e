"""Shuffled channels and several labels, of which there are no golden numbers: in float64."""

import math
from functools import partial

import glow_restatement as restated
import pytest
import torch
from corekit_glow.classified import ClassifiedFlow
from corekit_glow.flow import Glow

from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.interfaces.records import Batch, Condition

SHAPE, LABELS = (3, 8, 4), 6
SIZES = {"levels": 2, "steps": 2}
GLOW = partial(Glow, **SIZES, hidden=6, mixing="shuffle")
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def moved(module):
    """With all weights a little away from where they start."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return module


def images():
    return torch.rand(4, *SHAPE, dtype=torch.float64)


def leaves(module):
    """Its tensors, the parameters as leaves of their own."""
    state = module.state_dict()
    return state | {k: p.detach().clone().requires_grad_() for k, p in module.named_parameters()}


def under(state, prefix):
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def same_gradients(module, state):
    for name, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.grad, state[name].grad, **CLOSE, msg=name)
        assert bool(state[name].grad.any()), name


@pytest.fixture
def shuffled():
    return moved(GLOW(SHAPE).double())


def test_a_shuffled_glow_is_its_formula(shuffled):
    x, state = images(), leaves(shuffled)
    z, logdet = shuffled(x)
    want, want_logdet, _ = restated.glow(state, x, **SIZES)
    torch.testing.assert_close(z, want, **CLOSE)
    torch.testing.assert_close(logdet, want_logdet, **CLOSE)
    (0.5 * z.square().sum() - logdet.sum()).backward()
    (0.5 * want.square().sum() - want_logdet.sum()).backward()
    same_gradients(shuffled, state)


def test_a_shuffled_glow_comes_back_by_its_formula_from_any_latent(shuffled):
    z = torch.randn(4, math.prod(SHAPE), dtype=torch.float64)
    x, logdet = shuffled.inverse(z)
    torch.testing.assert_close(x, restated.back(shuffled.state_dict(), z, SHAPE, **SIZES), **CLOSE)
    again, other = shuffled(x)
    torch.testing.assert_close(again, z, **CLOSE)
    torch.testing.assert_close(other, -logdet, **CLOSE)


def test_its_orders_are_in_the_state_and_no_two_steps_share_one(shuffled):
    orders = {k: v for k, v in shuffled.state_dict().items() if k.endswith("1.order")}
    assert len(orders) == 4
    for order in orders.values():
        assert sorted(order.tolist()) == list(range(len(order)))
        assert order.tolist() != list(range(len(order)))
    first, second = list(orders.values())[:2]
    assert not torch.equal(first, second)
    other = GLOW(SHAPE).double()
    other.load_state_dict(shuffled.state_dict())
    x = images()
    assert torch.equal(other(x)[0], shuffled(x)[0])
    name, order = next(iter(orders.items()))
    with pytest.raises(UsageError, match="must have the order of the layer"):
        other.load_state_dict({**shuffled.state_dict(), name: order.roll(1)})


def several(**options):
    data = DataSpec(SHAPE, condition_shapes={"vector": (LABELS,)})
    return moved(ClassifiedFlow(data, bijector=GLOW, **options).double())


def hot():
    return (torch.rand(4, LABELS) < 0.4).double()


@pytest.mark.parametrize("conditional", [True, False])
def test_a_flow_of_several_labels_is_its_formula(conditional):
    model, weight = several(conditional=conditional, weight=0.3), 0.3
    x, y, state = images(), hot(), leaves(model)
    flow = under(state, "density.bijector.")
    z, logdet, h = restated.glow(flow, x, y if conditional else None, **SIZES)
    nll = 0.5 * z.square().sum(1) + 0.5 * z.shape[1] * math.log(2 * math.pi) - logdet
    p = 1 / (1 + (-restated.labels_from(state, h)).exp())
    bce = -(y * p.log() + (1 - y) * (1 - p).log()).sum(1)
    want = nll + weight * math.prod(SHAPE) * bce
    found = model(Batch(x, Condition(vector=y)))
    torch.testing.assert_close(found.terms["nll"], nll, **CLOSE)
    torch.testing.assert_close(found.terms["class_nll"], bce, **CLOSE)
    torch.testing.assert_close(found.total, want, **CLOSE)
    right = ((p > 0.5) == (y == 1)).double().mean(1)
    torch.testing.assert_close(found.terms["accuracy"], right)
    assert found.units == {"nll": "nats", "class_nll": "nats", "accuracy": "share of labels"}
    found.total.mean().backward()
    want.mean().backward()
    same_gradients(model, state)
    with torch.no_grad():
        torch.testing.assert_close(model.predict(x), p.detach(), **CLOSE)


def test_samples_of_several_labels_are_their_formula():
    model, y = several(), hot()
    z = torch.randn(4, math.prod(SHAPE), dtype=torch.float64)
    state = under(model.state_dict(), "density.bijector.")
    want = restated.back(state, z, SHAPE, y, **SIZES)
    torch.testing.assert_close(model.decode(z, Condition(vector=y)), want, **CLOSE)
    other = model.decode(z, Condition(vector=1 - y))
    assert not torch.allclose(other, want)
