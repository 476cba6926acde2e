"""The report finds the layer that cannot be inverted."""

import math

import pytest
import torch

from corekit.flows import health
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain
from corekit.flows.health import invertibility, smallest_singular_value
from corekit.flows.linear import Linear
from corekit.flows.lu_linear import LuLinear
from corekit.flows.multiscale import MultiScale
from corekit.flows.permute import Permute
from corekit.flows.pointwise import Sigmoid


def squeezed(features, smallest):
    """A linear layer of known singular values."""
    torch.manual_seed(0)
    a, b = (torch.linalg.qr(torch.randn(features, features).double())[0] for _ in range(2))
    layer = LuLinear((features,), bias=False).double()
    values = torch.linspace(2, 1, features).double()
    values[-1] = smallest
    layer.set_matrix(a @ values.diag() @ b)
    return layer


@pytest.mark.parametrize("dense", [True, False])
def test_the_smallest_singular_value_is_found(monkeypatch, dense):
    monkeypatch.setattr(health, "_DENSE", 256 if dense else 0)
    x = torch.randn(3, 6, dtype=torch.float64)
    got = smallest_singular_value(squeezed(6, 1e-5), x)
    torch.testing.assert_close(got, torch.full_like(got, 1e-5), rtol=1e-6, atol=0)


def test_power_iteration_agrees_with_the_jacobian_of_a_curved_map(monkeypatch):
    layer = Chain((5,), of=[squeezed(5, 0.05), Sigmoid]).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    want = smallest_singular_value(layer, x)
    monkeypatch.setattr(health, "_DENSE", 0)
    torch.testing.assert_close(smallest_singular_value(layer, x), want, rtol=1e-3, atol=0)


def test_the_layer_that_loses_digits_is_named():
    """Its log-determinant is right all the same."""
    flow = Chain((6,), of=[Permute, squeezed(6, 1e-9), Linear]).double()
    x = torch.randn(8, 6, dtype=torch.float64)
    report = invertibility(flow, x)
    assert [(layer.path, layer.name) for layer in report] == [
        ("0", "Permute"),
        ("1", "LuLinear"),
        ("2", "Linear"),
        ("all", "Chain"),
    ]
    assert report[0].round_trip == 0
    assert report[0].smallest_singular_value == pytest.approx(1)
    assert min(report[:3], key=lambda layer: layer.smallest_singular_value).path == "1"
    assert report[1].smallest_singular_value == pytest.approx(1e-9, rel=1e-3)
    assert report[1].round_trip > 1e3 * report[2].round_trip
    torch.testing.assert_close(flow(x)[1] + flow.inverse(flow(x)[0])[1], torch.zeros(8).double())


def test_it_looks_inside_flows_of_several_scales():
    flow = MultiScale((5, 2, 2), levels=2, of=[ActNorm, LuLinear])  # 3 channels go on
    paths = [layer.path for layer in invertibility(flow, torch.randn(2, 5, 2, 2))]
    assert paths == ["0", "1", "2", "2.of.0", "2.of.1", "2.of.2", "all"]


def test_what_is_not_known_is_nan(monkeypatch):
    layer = Linear((3,))
    layer.has_inverse = False
    (report,) = invertibility(layer, torch.randn(2, 3))
    assert math.isnan(report.round_trip)
    assert report.smallest_singular_value > 0
    monkeypatch.setattr(health, "_DENSE", 0)
    assert smallest_singular_value(layer, torch.randn(2, 3)).isnan().all()
    assert math.isnan(invertibility(layer, torch.empty(0, 3))[0].smallest_singular_value)


def test_a_round_trip_that_is_no_number_is_infinite():
    layer = Linear((2,))
    torch.nn.init.constant_(layer.weight, 1.0)
    assert invertibility(layer, torch.randn(2, 2))[0].round_trip == math.inf
    assert layer(torch.randn(1, 2))[1].item() == -math.inf
