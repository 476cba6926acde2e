"""Squeeze, flatten and permute against golden orders and against torch."""

import pytest
import torch

from corekit.build import component
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Inverse
from corekit.flows.permute import Permute
from corekit.flows.squeeze import Flatten, Squeeze
from corekit.spec import spec_class

ORDERS = {"channels": "c_dy_dx", "offsets": "dy_dx_c", "corners": "realnvp_pattern"}


@pytest.mark.parametrize(
    ("factor", "order"),
    [(f, order) for f in (2, 4) for order in ORDERS if (f, order) != (4, "corners")],
)
def test_each_order_is_that_of_the_reference(golden, factor, order):
    arrays = golden("squeeze")
    x = arrays[f"f{factor}_x"].double()
    layer = Squeeze(x.shape[1:], factor=factor, order=order)
    z, logdet = layer(x)
    assert torch.equal(z, arrays[f"f{factor}_{ORDERS[order]}"].double())
    assert torch.equal(layer.inverse(z)[0], x)
    assert logdet.tolist() == [0] * len(x)


def test_the_usual_order_is_that_of_torch():
    x = torch.randn(2, 3, 6, 9)
    z, _ = Squeeze((3, 6, 9), factor=3)(x)
    assert torch.equal(z, torch.nn.functional.pixel_unshuffle(x, 3))


def test_unsqueeze_is_the_inverse():
    """In a spec too, and with sides that could not be squeezed once more."""
    x = torch.randn(2, 12, 3, 5)
    spec = spec_class("bijector", "inverse").model_validate({"of": "squeeze"})
    assert spec.shape((12, 3, 5)) == (3, 6, 10)
    layer = component("bijector", spec, event_shape=(12, 3, 5), context_shape=None)
    z, _ = layer(x)
    assert torch.equal(z, torch.nn.functional.pixel_shuffle(x, 2))
    assert torch.equal(Inverse((12, 3, 5), of=Squeeze((3, 6, 10)))(x)[0], z)


def test_the_layout_of_the_seed_comes_back_to_its_shape():
    of = ["permute", "squeeze", "actnorm", {"type": "inverse", "of": "squeeze"}, "lu_linear"]
    spec = spec_class("bijector", "chain").model_validate({"of": of})
    assert spec.shape((3, 6, 10)) == (3, 6, 10)
    back = spec_class("bijector", "inverse").model_validate({"of": {"type": "chain", "of": of[:3]}})
    assert back.shape((12, 3, 5)) == (3, 6, 10)
    chain = component("bijector", spec, event_shape=(3, 6, 10), context_shape=None)
    assert chain.latent_shape == (3, 6, 10)
    turned = component("bijector", back, event_shape=(12, 3, 5), context_shape=None)
    assert turned(torch.randn(1, 12, 3, 5))[0].shape == (1, 3, 6, 10)


def test_backwards_the_last_member_comes_first():
    there_and_back = [{"type": "inverse", "of": "squeeze"}, "squeeze"]
    of = {"type": "chain", "of": there_and_back}
    spec = spec_class("bijector", "inverse").model_validate({"of": of})
    assert spec.shape((12, 3, 5)) == (12, 3, 5)
    twice = {"type": "inverse", "of": {"type": "repeat", "times": 2, "of": "squeeze"}}
    assert spec_class("bijector", "inverse").model_validate(twice).shape((16, 1, 1)) == (1, 4, 4)


def test_shapes_that_cannot_be_squeezed_are_refused_in_words():
    with pytest.raises(ShapeError, match=r"multiples of 2, got \(3, 5, 6\)\. Pad or crop"):
        Squeeze((3, 5, 6))
    with pytest.raises(ShapeError, match=r"got \(12,\)"):
        Squeeze((12,))
    spec = spec_class("bijector", "squeeze").model_validate({})
    with pytest.raises(ShapeError, match=r"multiples of 2, got \(3, 4, 5\)"):
        spec.shape((3, 4, 5))
    with pytest.raises(ShapeError, match=r"multiple of 4, got \(6, 4, 4\)"):
        spec.before((6, 4, 4))
    with pytest.raises(UsageError, match="2 for the order 'corners', got 4"):
        Squeeze((3, 8, 8), factor=4, order="corners")
    with pytest.raises(UsageError, match="got 'glow'"):
        Squeeze((3, 8, 8), order="glow")
    with pytest.raises(UsageError, match="at least 2, got 1"):
        Squeeze((3, 8, 8), factor=1)


def test_flatten_and_back():
    x = torch.randn(3, 2, 4, 5)
    layer = Flatten((2, 4, 5))
    z, _ = layer(x)
    assert torch.equal(z, x.flatten(1))
    assert torch.equal(layer.inverse(z)[0], x)
    assert layer(x[:0])[0].shape == (0, 40)


ORDERED = {
    "reverse": ({}, [4, 3, 2, 1, 0]),
    "roll": ({"order": "roll"}, [4, 0, 1, 2, 3]),
    "roll back": ({"order": "roll", "shift": -2}, [2, 3, 4, 0, 1]),
    "a list": ({"order": (1, 3, 0, 2, 4)}, [1, 3, 0, 2, 4]),
}


@pytest.mark.parametrize(("options", "order"), ORDERED.values(), ids=ORDERED)
def test_features_come_in_the_order_asked_for(options, order):
    x = torch.arange(5.0)[None]
    layer = Permute((5,), **options)
    assert layer(x)[0][0].tolist() == order
    assert torch.equal(layer.inverse(layer(x)[0])[0], x)


def test_channels_are_permuted_as_wholes():
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(Permute((4, 3, 3))(x)[0], x.flip(1))


def test_a_random_order_is_of_its_seed():
    a, b, c = (Permute((50,), order="random", seed=seed).order.tolist() for seed in (1, 1, 2))
    assert a == b != c
    assert sorted(a) == list(range(50)) != a


def test_another_order_is_not_loaded():
    stored = Permute((5,), order="random", seed=1)
    with pytest.raises(UsageError, match=r"must have the order of the layer, \[4, 3, 2, 1, 0\]"):
        Permute((5,)).load_state_dict(stored.state_dict())
    Permute((5,), order=stored.order.tolist()).load_state_dict(stored.state_dict())


def test_bad_orders_are_refused():
    with pytest.raises(ShapeError, match="one entry for each of 3 features, got 2"):
        Permute((3,), order=(1, 0))
    with pytest.raises(UsageError, match=r"each of 0 to 2 once, got \[0, 0, 2\]"):
        Permute((3,), order=(0, 0, 2))
    with pytest.raises(UsageError, match="got 'flip'"):
        Permute((3,), order="flip")
