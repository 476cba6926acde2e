"""The JSON Schema of files that extend others, of one kind, and of what plugins bring."""

import pytest
from jsonschema import Draft7Validator

from corekit.registry import Component, Registry, use_registry
from corekit.spec import run_spec
from corekit.spec.schema import run_schema, slot_schema
from corekit.spec.yaml12 import parse

FLOW = {"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": "toy2d"}


def plain(text):
    return parse(text, "spec.yaml")[0].plain()


@pytest.fixture
def core():
    """The validator of core alone."""
    with use_registry(Registry()):
        yield Draft7Validator(run_schema().document)


def mistakes(validator, data):
    """Where, and what, as a reader would see them."""
    return {(error.json_path, error.message) for error in validator.iter_errors(data)}


# -- files that extend others ------------------------------------------------------------------


def test_a_file_that_extends_another_may_leave_out_what_its_base_has(core):
    for text in (
        "extends: base.yaml",
        "{extends: [a.yaml, b.yaml], train: {steps: 5}}",
        "{extends: base.yaml, model: {bijector: {times: 3}, base: {features: 2}}}",
        "{extends: base.yaml, model: {bijector: {type: repeat, times: 3}}}",
        "{extends: base.yaml, model: {bijector: {of: {type: linear}}}}",
    ):
        assert mistakes(core, plain(text)) == set()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{extends: 3}", "$.extends"),
        ("{extends: base.yaml, trian: {}}", "$"),
        ("{extends: base.yaml, train: {stepz: 3}}", "$.train"),
        ("{extends: base.yaml, model: {type: flow, bijector: {type: lniear}}}", "$.model.bijector"),
        ("{extends: b.yaml, model: {type: flow, bijector: {type: linear, x: 1}}}", "$.model.bij"),
        # lists are not merged: what stands in one is whole
        ("{extends: b.yaml, model: {type: flow, bijector: {type: chain, of: [{}]}}}", "$.model"),
    ],
)
def test_what_is_written_in_it_is_checked_all_the_same(core, text, place):
    found = mistakes(core, plain(text))
    assert len(found) == 1
    assert next(iter(found))[0].startswith(place)


# -- what is installed -------------------------------------------------------------------------


@pytest.mark.usefixtures("toys")
def test_the_components_of_a_plugin_are_in_and_broken_ones_are_told():
    schema = run_schema()
    validator = Draft7Validator(schema.document)
    data = FLOW | {"model": {"type": "flow", "bijector": {"type": "toy.keep"}}}
    assert mistakes(validator, data) == set()
    assert {line.partition(" is left out: ")[0] for line in schema.complaints} == {
        "metric 'toy.notaspec'",
        "metric 'toy.renamed'",
        "metric 'toy.unimportable'",
    }
    ((place, _),) = mistakes(validator, data | {"metrics": ["toy.renamed"]})
    assert place == "$.metrics[0]"


def test_a_spec_with_sections_of_its_own_keeps_them_apart(toys):
    """Two classes of one name in two plugins are two definitions."""
    for plugin in ("one", "two"):
        toys.register(
            Component(
                "bijector",
                f"{plugin}.sectioned",
                spec=f"toy_specs:{plugin.title()}Spec",
                target="m:T",
                summary="has a section",
            )
        )
    document = run_schema().document
    validator = Draft7Validator(document)
    for plugin, key in (("one", "width"), ("two", "depth")):
        bijector = {"type": f"{plugin}.sectioned", "net": {key: 3}, "default": 1, "title": "t"}
        data = FLOW | {"model": {"type": "flow", "bijector": bijector}}
        run_spec(data)
        assert mistakes(validator, data) == set()
        written = document["definitions"][f"bijector:{plugin}.sectioned"]["properties"]["words"]
        assert written["examples"] == [{"title": "a"}]
        bijector["net"] = {"height": 3}
        ((place, _),) = mistakes(validator, data)
        assert place == "$.model.bijector.net"


def test_one_kind_alone(core):
    with use_registry(Registry()):
        validator = Draft7Validator(slot_schema("bijector").document)
    assert mistakes(validator, {"type": "repeat", "times": 2, "of": "linear"}) == set()
    assert mistakes(validator, "linear") == set()
    assert {place for place, _ in mistakes(validator, {"type": "repeat", "times": 2})} == {"$"}
    assert "run" not in validator.schema["definitions"]
