"""Errors say what, where and what to do, and know their exit code."""

import pickle

import pytest

from corekit import errors
from corekit.errors import Position, ShapeError, SpecError, SpecProblem, format_path


@pytest.mark.parametrize(
    ("name", "code", "builtin"),
    [
        ("CorekitError", 1, Exception),
        ("UsageError", 2, Exception),
        ("NoDensity", 2, TypeError),
        ("SpecError", 3, ValueError),
        ("ShapeError", 3, ValueError),
        ("PluginError", 4, LookupError),
        ("RegistryLookup", 4, LookupError),
        ("DataError", 5, ValueError),
        ("DivergedError", 6, ArithmeticError),
        ("CheckpointError", 7, ValueError),
    ],
)
def test_every_error_has_its_exit_code_and_builtin(name, code, builtin):
    error = getattr(errors, name)
    assert error.exit_code == code
    assert issubclass(error, builtin)
    assert issubclass(error, errors.CorekitError)
    assert name in errors.__doc__


def test_a_path_is_written_as_in_python():
    assert format_path(("model", "of", 0, "hiden")) == "model.of[0].hiden"
    assert format_path(()) == ""


def test_a_problem_shows_place_line_and_caret():
    at = Position("spec.yaml", 3, 5, "  a:\tb")
    text = str(SpecProblem("must be 1, got 2", ("a",), at))
    assert text == "spec.yaml:3:5: a: must be 1, got 2\n      a:\tb\n        ^"


def test_a_caret_stays_below_its_column_after_a_tab():
    assert Position("spec.yaml", 1, 3, "\tab").caret() == "\n    \tab\n    \t ^"


def test_a_mismatch_shows_both_places():
    problem = SpecProblem(
        "must fit",
        ("prior",),
        Position("a.yaml", 4, 8),
        given_by=("encoder",),
        given_at=Position("b.yaml", 2, 3),
    )
    assert str(problem) == "a.yaml:4:8: prior: must fit\n  b.yaml:2:3: encoder: gives the shape"
    assert problem.to_dict()["given_by"] == {
        "file": "b.yaml",
        "line": 2,
        "column": 3,
        "path": "encoder",
    }


def test_a_spec_error_lists_all_problems_and_takes_the_first_exit_code_that_applies():
    data = SpecProblem("no file", exit_code=5)
    plugin = SpecProblem("no plugin", exit_code=4)
    error = SpecError(data, plugin, "no key")
    assert str(error) == "no file\nno plugin\nno key"
    assert [SpecError(data).exit_code, SpecError(data, plugin).exit_code, error.exit_code] == [
        5,
        4,
        3,
    ]


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(SpecError(SpecProblem("no file", exit_code=5))))
    assert error.exit_code == 5
    shape = pickle.loads(pickle.dumps(ShapeError("must fit", path=("a",), given_by=("b",))))
    assert str(shape) == "a: must fit The shape is given by b."
