"""The JSON Schema of a spec: what is right passes, what is wrong is refused where it stands."""

import copy
import json
import random
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from corekit.errors import SpecError
from corekit.registry import Registry, use_registry
from corekit.spec import load_spec, run_spec
from corekit.spec.schema import run_schema
from corekit.spec.yaml12 import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = [
    ROOT / "corekit" / "cli" / "demo.yaml",
    *sorted(ROOT.glob("examples/*.yaml")),
    *sorted(ROOT.glob("plugins/*/examples/*.yaml")),
]
FLOW = """
version: 1
model:
  type: flow
  bijector:
    type: repeat
    times: 2
    of:
      - linear
      - {type: chain, of: [{type: inverse, of: {type: linear, bias: false}}]}
  base: {type: normal, features: null}
data: {type: toy2d, density: rings}
train: {steps: 100, ema: 0.9, optimizer: {type: adam, lr: 1e-3, betas: [0.9, 0.99]}, samples: null}
metrics: []
"""


def plain(text):
    tree, problems = parse(text, "spec.yaml")
    assert not problems
    return tree.plain()


@pytest.fixture(scope="module")
def installed():
    """The validator of what is installed."""
    return Draft7Validator(run_schema().document)


@pytest.fixture
def core():
    """The validator of core alone."""
    with use_registry(Registry()):
        yield Draft7Validator(run_schema().document)


def mistakes(validator, data):
    """Where, and what, as a reader would see them."""
    return {(error.json_path, error.message) for error in validator.iter_errors(data)}


# -- what is right -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_every_example_and_its_resolved_form_pass(installed, path):
    assert mistakes(installed, plain(path.read_text(encoding="utf-8"))) == set()
    resolved = load_spec(path).spec.model_dump(mode="json")
    assert mistakes(installed, resolved) == set()


def test_a_flow_of_core_parts_passes(core):
    run_spec(plain(FLOW))
    assert mistakes(core, plain(FLOW)) == set()


def test_it_is_a_schema_of_draft_7(installed):
    document = installed.schema
    Draft7Validator.check_schema(document)
    assert document["$schema"] == "http://json-schema.org/draft-07/schema#"
    text = json.dumps(document)
    assert "x-corekit-kind" not in text
    assert "prefixItems" not in text
    assert "$defs" not in text

    def nodes(value):
        if isinstance(value, dict):
            yield value
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            yield from nodes(item)

    for node in nodes(document):
        if "$ref" in node:
            name = node["$ref"].removeprefix("#/definitions/")
            assert name in document["definitions"]
            assert "/" not in name
            assert " " not in name
        if isinstance(node.get("enum"), list):
            assert node["enum"], node  # editors refuse a schema with an empty one


def test_fields_and_components_are_described(installed):
    definitions = installed.schema["definitions"]
    repeat = definitions["bijector:repeat"]
    assert repeat["description"].startswith("The same bijectors again and again")
    assert repeat["properties"]["times"]["description"] == "how often"
    assert repeat["properties"]["type"]["const"] == "repeat"
    kind = definitions["bijector"]["then"]["properties"]["type"]
    known = dict(zip(kind["enum"], kind["enumDescriptions"], strict=True))
    assert known["linear"] == "an invertible matrix over the features"
    assert definitions["model:flow"]["properties"]["base"]["default"] == "normal"
    assert definitions["dataset:toy2d"]["properties"]["size"]["default"] == 10_000
    for name, node in definitions.items():
        if ":" in name.removeprefix("partial:"):
            assert node["description"], name
            for field, inner in node["properties"].items():
                assert inner.get("description") or field == "extends", f"{name}.{field}"


def test_kinds_that_no_slot_of_a_spec_takes_are_left_out(installed):
    assert "importer" not in installed.schema["definitions"]


def test_slots_nest_without_end(core):
    bijector = "linear"
    for _ in range(40):
        bijector = {"type": "inverse", "of": bijector}
    data = plain(FLOW) | {"model": {"type": "flow", "bijector": bijector}}
    assert mistakes(core, data) == set()
    inner = data["model"]["bijector"]
    for _ in range(39):
        inner = inner["of"]
    inner["of"] = {"type": "linear", "biass": True}
    ((place, message),) = mistakes(core, data)
    assert place == "$.model.bijector" + 40 * ".of"
    assert "'biass' was unexpected" in message


# -- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("train:", "trian:", "$", "'trian' was unexpected"),
        ("steps: 100", "stepz: 100", "$.train", "'stepz' was unexpected"),
        ("steps: 100", "steps: many", "$.train.steps", "'many' is not of type 'integer'"),
        ("steps: 100", "steps: 0", "$.train.steps", "0 is less than the minimum of 1"),
        ("steps: 100", "steps: true", "$.train.steps", "True is not of type 'integer'"),
        ("ema: 0.9", "ema: 1", "$.train.ema", "1 is greater than or equal to the maximum of 1"),
        ("ema: 0.9", "ema: no", "$.train.ema", "'no' is not of type 'number', 'null'"),
        ("adam,", "adm,", "$.train.optimizer.type", "'adm' is not one of ['adam', "),
        ("[0.9, 0.99]", "[0.9, 1.5]", "$.train.optimizer.betas[1]", "1.5 is greater than or eq"),
        ("[0.9, 0.99]", "[0.9]", "$.train.optimizer.betas", "[0.9] is too short"),
        ("rings", "ring", "$.data.density", "'ring' is not one of"),
        ("times: 2", "times: 0", "$.model.bijector.times", "0 is less than the minimum"),
        ("times: 2", "", "$.model.bijector", "'times' is a required property"),
        ("    type: repeat\n", "", "$.model.bijector", "'type' is a required property"),
        ("- linear", "- lniear", "$.model.bijector.of[0]", "'lniear' is not one of ['"),
        ("- linear", "- repeat", "$.model.bijector.of[0]", "'repeat' is not one of"),
        ("- linear", "- 3", "$.model.bijector.of[0]", "3 is not of type 'string', 'object'"),
        (
            "bias: false",
            "bias: 2",
            "$.model.bijector.of[1].of[0].of.bias",
            "2 is not of type 'boolean'",
        ),
        ("features: null", "features: two", "$.model.base.features", "'two' is not of type 'int"),
        ("version: 1", "version: 2", "$.version", "1 was expected"),
        ("metrics: []", "metrics: [fidd]", "$.metrics[0]", "'fidd' is not one of ['"),
        ("data: {type: toy2d, density: rings}", "", "$", "'data' is a required property"),
    ],
)
def test_a_mistake_is_refused_where_it_stands(core, old, new, place, words):
    assert old in FLOW
    data = plain(FLOW.replace(old, new, 1))
    with pytest.raises(SpecError):
        run_spec(data)
    found = mistakes(core, data)
    assert any(at == place and words in message for at, message in found), found
    assert len({at for at, _ in found}) == 1  # and nowhere else


def places(value, path=()):
    yield path
    for key, item in (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    ):
        yield from places(item, (*path, key))


def changed(data, rng):
    """A copy with something else in one place."""
    data = copy.deepcopy(data)
    *above, last = rng.choice([path for path in places(data) if path])
    parent = data
    for key in above:
        parent = parent[key]
    others = [None, -1, 0.5, 2.5, 7, "linear", "zzz", [], {}, ["linear"]]
    match rng.choice(["value", "value", "value", "drop", "add"]):
        case "value":
            parent[last] = rng.choice(others)
        case "drop":
            del parent[last]
        case "add" if isinstance(parent, dict):
            parent[rng.choice(["zzz", "of", "bias", "size"])] = rng.choice(others)
    return data


def refused(data):
    """The codes of what corekit says against it; one field against another is its own affair."""
    try:
        run_spec(data)
    except SpecError as error:
        return {problem.code for problem in error.problems} - {"value_error"}
    return set()


@pytest.mark.parametrize("path", [None, *EXAMPLES[:3]], ids=lambda path: path and path.name)
def test_the_schema_and_corekit_judge_the_same(installed, path):
    """Whatever is put in one place of a good spec, both take it or both refuse it."""
    data = plain(FLOW if path is None else path.read_text(encoding="utf-8"))
    rng = random.Random(0)
    verdicts = set()
    for _ in range(400):
        other = changed(data, rng)
        codes = refused(other)
        assert bool(mistakes(installed, other)) is bool(codes), (other, codes)
        verdicts |= codes or {"valid"}
    assert {"valid", "unknown_key", "missing"} < verdicts
