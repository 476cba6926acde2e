"""Evaluation says whether a flow can be inverted, where that can be known cheaply."""

import json
import math
from functools import partial

import pytest
import torch

from corekit.build import build, build_dataset
from corekit.data_spec import DataSpec
from corekit.flows import health
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.health import LayerHealth
from corekit.flows.model import FlowModel
from corekit.spec import run_spec
from corekit.train import invertibility as module
from corekit.train.evaluation import evaluate
from corekit.train.invertibility import invertibility_line, invertibility_of

PLANE = {"type": "toy2d", "density": "moons", "size": 40, "held_out": 20}


def flow(*layers, **more):
    torch.manual_seed(0)
    chain = {"type": "chain", "of": list(layers)}
    spec = run_spec(
        {"version": 1, "model": {"type": "flow", "bijector": chain, **more}, "data": PLANE}
    )
    return build(spec).eval(), build_dataset(spec), spec


def test_the_worst_layer_is_named():
    model, dataset, spec = flow("permute", "lu_linear", "linear")
    squeeze = torch.tensor([[2.0, 0.0], [0.0, 1e-3]])
    model.density.bijector[1].set_matrix(squeeze)
    found = invertibility_of(model, dataset, "test", 0)
    assert found["rows"] == 8
    assert found["smallest_singular_value"] == pytest.approx(1e-3, rel=1e-3)
    assert found["worst_layer"]["path"] == "1"
    assert found["worst_layer"]["name"] == "LuLinear"
    assert 0 <= found["round_trip"] < 1e-3
    line = invertibility_line(found)
    assert line.startswith("invertibility on 8 examples: round trip ")
    assert "smallest singular value 0.001; worst layer 1 LuLinear" in line
    assert "\n" not in line
    assert evaluate(model, spec)["invertibility"] == found


def test_one_layer_is_not_named_twice():
    found = invertibility_of(*flow("linear")[:2], "test", 0)
    assert found["worst_layer"] is None
    assert "worst" not in invertibility_line(found)


@pytest.mark.parametrize(
    ("layer", "base"),
    [
        ({"type": "realnvp.residual", "hidden": [4], "logdet": "roulette"}, "normal"),
        ({"type": "realnvp.continuous", "trace": "hutchinson"}, "normal"),
    ],
)
def test_nothing_is_said_of_an_estimate(layer, base):
    assert invertibility_of(*flow(layer, base=base)[:2], "test", 0) is None


def test_nothing_is_said_of_a_flow_without_an_inverse(monkeypatch):
    model, dataset, _ = flow("linear")
    monkeypatch.setattr(model.density.bijector, "has_inverse", False)
    assert invertibility_of(model, dataset, "test", 0) is None


def test_nothing_is_said_of_other_models():
    model = {"type": "variational_flow", "bijector": "linear"}
    spec = run_spec({"version": 1, "model": model, "data": PLANE})
    assert invertibility_of(build(spec), build_dataset(spec), "test", 0) is None


def test_large_events_have_no_singular_values(monkeypatch):
    """No Jacobian and no power iteration: forward and inverse of each layer, and of the whole."""
    layers = partial(Chain, of=[partial(Coupling, split="checkerboard"), ActNorm])
    model = FlowModel(DataSpec((2, 12, 12)), bijector=layers)
    for name in ("_of_jacobian", "_by_power_iteration"):
        monkeypatch.setattr(health, name, lambda *_: pytest.fail("it computes singular values"))
    report = model.invertibility(torch.randn(2, 2, 12, 12), estimate=False)
    assert len(report) == 3
    assert all(math.isnan(layer.smallest_singular_value) for layer in report)
    assert all(layer.round_trip < 1e-4 for layer in report)


def test_what_is_not_finite_is_null_and_is_said(monkeypatch):
    model, dataset, _ = flow("permute", "linear")
    broken = LayerHealth("0", "Permute", math.inf, math.nan)
    monkeypatch.setattr(type(model), "invertibility", lambda *_, **__: [broken, broken, broken])
    found = invertibility_of(model, dataset, "test", 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["round_trip"] is found["smallest_singular_value"] is None
    assert "round trip not finite" in invertibility_line(found)


def test_few_rows_are_looked_at(monkeypatch):
    model, dataset, _ = flow("linear")
    seen = []
    plain = type(model).invertibility

    def counted(self, x, condition=None, **options):
        seen.append(len(x))
        return plain(self, x, condition, **options)

    monkeypatch.setattr(type(model), "invertibility", counted)
    invertibility_of(model, dataset, "test", 0)
    assert seen == [module.ROWS]


IMAGES = {"type": "shapes2d", "side": 8, "size": 20, "held_out": 10}


def test_levels_and_matrices_are_told():
    levels = {"type": "multiscale", "levels": 2, "of": ["squeeze", "lu_linear"]}
    spec = run_spec({"version": 1, "model": {"type": "flow", "bijector": levels}, "data": IMAGES})
    torch.manual_seed(0)
    model, dataset = build(spec).eval(), build_dataset(spec)
    deepest = model.density.bijector[-1].of[1]
    deepest.set_matrix(torch.diag(torch.tensor([5.0, *[1.0] * 7])))
    found = invertibility_of(model, dataset, "test", 0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert len(found["levels"]) == 2
    assert found["levels"][0] == found["round_trip"]
    assert found["condition"]["value"] == pytest.approx(5, rel=1e-5)
    assert found["condition"] | {"value": 5} == {
        "path": "2.of.1",
        "name": "LuLinear",
        "value": 5,
        "layers": 2,
    }
    line = invertibility_line(found)
    assert "; from each level on " in line
    assert line.endswith("; condition number of 2 matrices at most 5 (2.of.1 LuLinear)")
    assert "\n" not in line


def test_a_flow_of_one_level_without_matrices_says_nothing_of_them():
    found = invertibility_of(*flow("permute", "actnorm")[:2], "test", 0)
    assert found["levels"] == []
    assert found["condition"] is None
    line = invertibility_line(found)
    assert "level" not in line
    assert "condition" not in line


def test_a_matrix_alone_is_told_and_a_singular_one_is_null():
    model, dataset, _ = flow("linear")
    assert invertibility_of(model, dataset, "test", 0)["condition"]["layers"] == 1
    torch.nn.init.zeros_(model.density.bijector[0].weight)
    found = invertibility_of(model, dataset, "test", 0)
    assert found["condition"]["value"] is None
    assert "at most infinite" in invertibility_line(found)
