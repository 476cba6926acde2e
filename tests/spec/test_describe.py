"""Specs describe themselves in words."""

import pytest

from corekit.registry import Registry, use_registry
from corekit.spec import RunSpec, TrainSpec, spec_class
from corekit.spec.describe import example, fields, summary


@pytest.fixture(autouse=True)
def core_only():
    with use_registry(Registry()) as registry:
        yield registry


def test_types_are_written_in_words():
    texts = {field.name: field.type for field in fields(TrainSpec)}
    assert texts["steps"] == "int ≥ 1"
    assert texts["optimizer"] == "optimizer"
    assert texts["ema"] == "float or list of float or null"
    assert texts["precision"] == "fp32 or bf16 or fp16"
    assert texts["device"] == "text"
    chain = {field.name: field.type for field in fields(spec_class("bijector", "repeat"))}
    assert chain["of"] == "list of bijector"
    adam = {field.name: field.type for field in fields(spec_class("optimizer", "adam"))}
    assert adam["betas"] == "list of 2: float ≥ 0, < 1, float ≥ 0, < 1"


def test_defaults_are_written_as_in_a_file():
    defaults = {field.name: field.default for field in fields(TrainSpec)}
    assert defaults["optimizer"] == "adam"
    assert defaults["ema"] is None
    assert {f.name: f.default for f in fields(RunSpec)}["metrics"] == []


def test_every_field_of_core_is_described(core_only):
    specs = [spec_class(c.kind, c.name) for c in core_only.components()]
    for spec in [*specs, RunSpec, TrainSpec]:
        assert summary(spec)
        for field in fields(spec):
            assert field.description, f"{spec.__name__}.{field.name}"


def test_examples_of_core_are_valid(core_only):
    for component in core_only.components():
        spec = spec_class(component.kind, component.name)
        needs_plugins = component.name in ("diffusion", "latent")
        assert example(spec)["type"] == component.name
        if not needs_plugins:
            spec.model_validate(example(spec))
