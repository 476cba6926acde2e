"""Slots accept any registered component of their kind, and explain everything else."""

import copy
import pickle

import pytest
from pydantic import ValidationError

from corekit.registry import Registry, use_registry
from corekit.spec import RunSpec, Section, spec_class
from corekit.spec.flows import ChainSpec, FlowPriorSpec, LinearSpec, NormalSpec, RepeatSpec
from corekit.spec.optimizers import AdamSpec, SgdSpec
from corekit.spec.train import TrainSpec


@pytest.fixture(autouse=True)
def core_only():
    with use_registry(Registry()):
        yield


def messages(model, value):
    with pytest.raises(ValidationError) as e:
        model.model_validate(value)
    return {".".join(map(str, error["loc"])): error["msg"] for error in e.value.errors()}


def test_a_bare_name_a_mapping_and_an_instance_are_the_same():
    named = ChainSpec.model_validate({"of": ["linear"]})
    mapped = ChainSpec.model_validate({"of": [{"type": "linear"}]})
    assert named == mapped == ChainSpec(of=[LinearSpec()])


def test_an_instance_of_another_kind_is_refused():
    found = messages(FlowPriorSpec, {"bijector": NormalSpec()})
    assert found["bijector"].startswith("No bijector named 'normal'")


def test_an_instance_of_another_class_is_refused():
    class Fake(LinearSpec):
        pass

    found = messages(FlowPriorSpec, {"bijector": Fake()})
    assert found["bijector"] == ("must be a LinearSpec, the spec of bijector 'linear', got a Fake")


def test_all_mistakes_are_found_at_once_with_the_paths_of_the_file():
    value = {
        "of": [
            "liner",
            {"type": "linear", "bais": 1, "bias": "perhaps"},
            {"type": "chain", "of": [{"tpye": "linear"}]},
            3,
        ]
    }
    found = messages(ChainSpec, value)
    assert set(found) == {
        "of.0.type",
        "of.1.bais",
        "of.1.bias",
        "of.2.of.0",
        "of.3",
    }
    assert "Did you mean 'linear' or 'lu_linear'?" in found["of.0.type"]
    assert found["of.1.bais"] == "unknown key 'bais'; did you mean 'bias'? (allowed: type, bias)"
    assert "Is 'tpye' meant to be 'type'? Installed: actnorm, chain, " in found["of.2.of.0"]
    assert found["of.3"].endswith("or a mapping with the key 'type', got 3")


def test_unknown_keys_are_explained_in_python_too():
    with pytest.raises(ValidationError, match="unknown key 'stps'; did you mean 'steps'"):
        TrainSpec(stps=3)


@pytest.mark.parametrize("of", ["linear", {"type": "linear"}, ["linear"], [LinearSpec()]])
def test_repeat_takes_one_bijector_or_a_list(of):
    assert RepeatSpec(times=2, of=of).of == [LinearSpec()]


def test_repeat_explains_a_mistake_in_its_only_bijector():
    assert set(messages(RepeatSpec, {"times": 2, "of": {"type": "linear", "x": 1}})) == {"of.x"}
    assert set(messages(RepeatSpec, {"times": 0, "of": []})) == {"times", "of"}


def test_a_hundred_levels_are_no_trouble():
    value = "linear"
    for _ in range(100):
        value = {"type": "inverse", "of": value}
    assert ChainSpec.model_validate({"of": [value]}).of[0].type == "inverse"


@pytest.fixture
def run():
    flow = {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": "linear"}}
    train = {"optimizer": {"type": "sgd", "momentum": 0.9}}
    return RunSpec.model_validate({"version": 1, "model": flow, "data": "shapes3d", "train": train})


def test_a_spec_survives_json_copy_and_pickle(run):
    assert RunSpec.model_validate_json(run.model_dump_json()) == run
    assert RunSpec.model_validate(run.model_dump()) == run
    assert copy.deepcopy(run) == run
    assert pickle.loads(pickle.dumps(run)) == run


def test_the_type_is_written_whatever_is_left_out(run):
    for options in ({"exclude_defaults": True}, {"exclude_unset": True}):
        dumped = run.model_dump(**options)
        assert dumped["model"]["bijector"]["of"] == [{"type": "linear"}]
        assert dumped["train"]["optimizer"] == {"type": "sgd", "momentum": 0.9}
        assert RunSpec.model_validate(dumped) == run


def test_defaults_are_components_too():
    assert TrainSpec().optimizer == AdamSpec()
    assert FlowPriorSpec(bijector="linear").base == NormalSpec()


def test_specs_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        AdamSpec().lr = 1.0


@pytest.mark.parametrize(
    ("model", "value", "words"),
    [
        (AdamSpec, {"lr": float("nan")}, "finite"),
        (AdamSpec, {"betas": [0.9, 1.0]}, "less than 1"),
        (SgdSpec, {"nesterov": True}, "nesterov must have a momentum, got momentum 0"),
        (TrainSpec, {"ema": 1}, "less than 1"),
        (TrainSpec, {"precision": "fp8"}, "'fp32', 'bf16' or 'fp16'"),
        (TrainSpec, {"steps": 1.5}, "integer"),
    ],
)
def test_values_out_of_range_are_refused(model, value, words):
    with pytest.raises(ValidationError, match=words):
        model.model_validate(value)


def test_true_is_a_number_only_where_a_field_says_so():
    class Toy(Section):
        levels: int | bool = 1
        steps: int | None = None

    assert Toy.model_validate({"levels": True}).levels is True
    with pytest.raises(ValidationError, match="valid integer"):
        Toy.model_validate({"steps": True})


def test_a_spec_class_must_be_what_was_declared(toys):
    from corekit.errors import PluginError

    for name, words in {
        "toy.unimportable": r"corekit-toy 0\.3: metric 'toy\.unimportable' could not be imported",
        "toy.renamed": r"must have the type 'toy\.renamed', got 'toy\.mse'",
        "toy.notaspec": r"toy_specs:NotASpec must be a subclass of corekit\.spec\.Spec",
    }.items():
        with pytest.raises(PluginError, match=words):
            spec_class("metric", name)
    with pytest.raises(PluginError, match=r"type must be the name of one metric, got \[1\]"):
        spec_class("metric", [1])
