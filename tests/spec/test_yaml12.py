"""Values are those of YAML 1.2, positions are exact, surprises are refused."""

import math

import pytest
import yaml

from corekit.spec import yaml12
from corekit.spec.dump import dump_value
from corekit.spec.yaml12 import parse

SCALARS = {
    "1e-4": 1e-4,
    "1e4": 1e4,
    "-1.5E+3": -1500.0,
    ".5": 0.5,
    "1.": 1.0,
    "+3": 3,
    "0123": 123,
    "0o17": 15,
    "0x1F": 31,
    "1_000": "1_000",
    "12:30:45": "12:30:45",
    "2001-01-01": "2001-01-01",
    "no": "no",
    "on": "on",
    "y": "y",
    "True": True,
    "false": False,
    "~": None,
    "null": None,
    "": None,
    ".inf": math.inf,
    "-.INF": -math.inf,
    "'1'": "1",
    "!!float 1": 1.0,
    "!!str 1": "1",
    "e4": "e4",
    "1e": "1e",
    "-": None,  # an item that is null
}


@pytest.fixture(params=["c", "python"])
def _loader(request, monkeypatch):
    """Both of PyYAML's parsers: the C one is not everywhere."""
    if request.param == "python":

        class PythonLoader(yaml.SafeLoader):
            yaml_implicit_resolvers = yaml12._Loader.yaml_implicit_resolvers

        monkeypatch.setattr(yaml12, "_Loader", PythonLoader)


def read(text):
    tree, problems = parse(text, "spec.yaml")
    assert not problems
    return tree.plain()


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize("text", [text for text in SCALARS if text != "-"])
def test_scalars_follow_the_core_schema(text):
    value = read(f"a: {text}\n")["a"]
    assert value == SCALARS[text]
    assert type(value) is type(SCALARS[text])


def test_nan_is_a_number():
    assert math.isnan(read("a: .nan")["a"])


@pytest.mark.parametrize(
    "value", [*map(str, SCALARS), "true", "null", "0x10", "1.5", " a ", "a: b", "#", 1e-8, 1e22, 3]
)
def test_what_is_written_is_read_back(value):
    assert read(dump_value({"a": value, "b": [value]})) == {"a": value, "b": [value]}


@pytest.mark.usefixtures("_loader")
def test_every_value_knows_its_place():
    tree, _ = parse("a: 1\nb:\n  - x\n  - {c: 2}\n", "spec.yaml")
    places = {path: str(leaf.at) for path, leaf in tree.walk()}
    assert places[("a",)] == "spec.yaml:1:4"
    assert places[("b", 0)] == "spec.yaml:3:5"
    assert places[("b", 1, "c")] == "spec.yaml:4:9"
    keys = {path: str(leaf.key_at) for path, leaf in tree.walk()}
    assert keys[("b", 1, "c")] == "spec.yaml:4:6"


def test_anchors_work_and_each_use_has_the_place_of_the_anchor():
    tree, problems = parse("a: &x {b: 1}\nc: *x\n", "spec.yaml")
    assert not problems
    assert tree.plain() == {"a": {"b": 1}, "c": {"b": 1}}


@pytest.mark.usefixtures("_loader")
@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", "3:1", "duplicate key 'a'; it is also on line 1"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", "2:5", "merge keys (<<) are YAML 1.1"),
        ("a: &x [*x]\n", "1:4", "must not contain itself"),
        ("a: !!python/object/apply:os.system [ls]\n", "1:4", "tag !!python/object/apply:os.system"),
        ("a: !mine 3\n", "1:4", "the tag !mine is not allowed"),
        ("a: !!set {b}\n", "1:4", "the tag !!set is not allowed"),
        ("a: !!binary aGk=\n", "1:4", "the tag !!binary is not allowed"),
        ("a: !!int x\n", "1:4", "must be of the tag !!int, got 'x'"),
        ("? [1]\n: 2\n", "1:3", "a key must be a word"),
        ("a:\n\tb: 1\n", "2:1", "Indent with spaces: YAML allows no tabs"),
        ("a: [1\nb: 2\n", "2:", "YAML syntax"),
        ("a: 1\n---\nb: 1\n", "2:1", "YAML syntax"),
        ("", "1:1", "the file is empty"),
        ("# nothing\n", "1:1", "the file is empty"),
        ("a: \x07\n", "1:1", "is not allowed"),
    ],
)
def test_surprises_are_refused_with_their_place(text, at, words):
    _, problems = parse(text, "spec.yaml")
    assert len(problems) == 1
    assert str(problems[0].position).startswith(f"spec.yaml:{at}")
    assert words in problems[0].message


def test_all_of_them_are_reported():
    tree, problems = parse("a: 1\na: 2\nb: !x 1\nc: {<<: {}}\n", "spec.yaml")
    assert [problem.code for problem in problems] == ["duplicate_key", "tag", "merge_key"]
    assert tree.plain() == {"a": 1, "b": "1", "c": {}}


def test_a_document_that_stands_for_billions_is_refused():
    lines = ["a0: &a0 [1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    _, problems = parse("\n".join(lines), "spec.yaml")
    assert "too many values" in problems[0].message


def test_nesting_without_end_is_refused():
    for depth in (200, 20_000):
        _, problems = parse("[" * depth + "]" * depth, "spec.yaml")
        assert [problem.message for problem in problems] == ["the document is nested too deeply"]
