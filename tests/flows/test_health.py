"""The report finds the layer that cannot be inverted."""

import math

import pytest
import torch

from corekit.flows import health
from corekit.flows.actnorm import ActNorm
from corekit.flows.affine import Affine
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.health import invertibility, level_errors, smallest_singular_value
from corekit.flows.linear import Linear
from corekit.flows.lu_linear import LuLinear
from corekit.flows.multiscale import MultiScale
from corekit.flows.permute import Permute
from corekit.flows.pointwise import Sigmoid
from corekit.flows.squeeze import Squeeze


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


def test_a_jacobian_in_parts_is_the_whole_one(monkeypatch):
    """Some rows at a time, each with its own context."""
    torch.manual_seed(0)
    layer = Coupling((5,), (2,), univariate=Affine()).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, context = torch.randn(7, 5).double(), torch.randn(7, 2).double()
    got = smallest_singular_value(layer, x, context)
    want = [
        torch.linalg.svdvals(torch.func.jacrev(lambda v, c=c: layer(v[None], c[None])[0][0])(row))
        for row, c in zip(x, context, strict=True)
    ]
    torch.testing.assert_close(got, torch.stack(want)[:, -1])
    monkeypatch.setattr(health, "_ROWS", 11)
    torch.testing.assert_close(smallest_singular_value(layer, x, context), got)
    assert smallest_singular_value(layer, x[:0], context[:0]).shape == (0,)


def test_an_estimate_can_be_left_out(monkeypatch):
    monkeypatch.setattr(health, "_DENSE", 0)
    layer, x = squeezed(6, 1e-5), torch.randn(3, 6, dtype=torch.float64)
    assert smallest_singular_value(layer, x, estimate=False).isnan().all()
    report = invertibility(Chain((6,), of=[layer, Permute]).double(), x, estimate=False)
    assert all(math.isnan(part.smallest_singular_value) for part in report)


def test_the_condition_number_of_a_matrix_is_told():
    flow = Chain((6,), of=[Permute, squeezed(6, 1e-5), Linear]).double()
    weight = flow[2].weight
    torch.nn.init.normal_(weight)
    first, second, third, whole = invertibility(flow, torch.randn(2, 6, dtype=torch.float64))
    assert math.isnan(first.condition)
    assert math.isnan(whole.condition)
    assert second.condition == pytest.approx(2e5, rel=1e-6)
    assert third.condition == pytest.approx(torch.linalg.cond(weight).item(), rel=1e-6)


def test_a_matrix_that_is_singular_has_an_infinite_condition():
    layer = Linear((2,))
    torch.nn.init.zeros_(layer.weight)
    assert invertibility(layer, torch.randn(2, 2))[0].condition == math.inf


def test_the_level_that_loses_digits_is_seen():
    """Behind the bad level the errors are as small as ever; before it they are large."""
    torch.manual_seed(0)
    flow = MultiScale((1, 8, 8), levels=3, of=[Squeeze, LuLinear]).double().eval()
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    assert max(level_errors(flow, x)) < 1e-13
    second = flow[-1].of
    assert isinstance(second[1], LuLinear)
    bad = torch.eye(8, dtype=torch.float64)
    bad[0] = torch.arange(1, 9) * 1e-9
    bad[1] += bad[2] * (1 - 1e-9)
    second[1].set_matrix(bad)
    first, from_second, third = level_errors(flow, x)
    assert third < 1e-13
    assert from_second > 1e-9
    assert first > 1e-9


def test_levels_are_found_behind_other_layers():
    torch.manual_seed(0)
    flow = Chain((1, 4, 4), of=[Permute, lambda **g: MultiScale(levels=2, of=[Squeeze], **g)])
    x = torch.randn(3, 1, 4, 4)
    errors = level_errors(flow, x)
    back = flow.inverse(flow(x)[0])[0]
    assert errors[0] == (back - x).abs().max().item()
    assert len(errors) == 2
    assert errors[1] < 1e-6
    assert len(level_errors(Linear((3,)), torch.randn(2, 3))) == 1
    odd = MultiScale((5, 2, 2), levels=3, of=[ActNorm])  # 3 channels go on, then 2
    assert len(level_errors(odd, torch.randn(2, 5, 2, 2))) == 3


def test_levels_see_the_context_that_they_take():
    net = lambda **g: MultiScale(  # noqa: E731
        levels=2, of=[Squeeze, lambda **h: Coupling(univariate=Affine(), **h)], **g
    )
    flow = Chain((1, 4, 4), (3,), of=[net]).double()
    for parameter in flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, context = torch.randn(5, 1, 4, 4).double(), torch.randn(5, 3).double()
    assert max(level_errors(flow, x, context)) < 1e-10
