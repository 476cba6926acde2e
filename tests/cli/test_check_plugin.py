"""`corekit check-plugin`: the table, the failures, the exit code."""

import json

import pytest

from corekit.cli.main import main
from corekit.registry import Component, Registry, use_registry
from corekit.testing import CheckResult


@pytest.fixture
def results(monkeypatch):
    """What the kit is made to say."""
    said = [
        CheckResult("bijector a.b", "event_shape=(5,)", "one", "passed", "", 0.25),
        CheckResult("bijector a.b", "event_shape=(2,)", "one", "expected", "a reason (x)", 0.5),
    ]
    monkeypatch.setattr("corekit.testing.plugin.check_plugin", lambda name, slow: iter(said))
    return said


def test_a_table_and_a_verdict(results, capsys):
    assert main(["check-plugin", "a"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "COMPONENT     CASES  CHECKS  FAILED  SECONDS",
        "bijector a.b  2      2       0       0.8",
        "",
        "expected: bijector a.b (event_shape=(2,))",
        "  one: a reason (x)",
        "",
        "a: 2 checks, all as promised",
    ]


def test_a_failure_is_shown_and_ends_with_4(results, capsys):
    results.append(CheckResult("bijector a.c", "", "two", "failed", "it is off by 3", 0.0))
    assert main(["check-plugin", "a"]) == 4
    out = capsys.readouterr().out
    assert "failed: bijector a.c\n  two: it is off by 3" in out
    assert out.endswith("a: 3 checks, 1 failed\n")


def test_json_has_every_check(results, capsys):
    assert main(["check-plugin", "a", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["name"], facts["passed"]) == ("a", True)
    assert [check["status"] for check in facts["checks"]] == ["passed", "expected"]
    assert facts["checks"][0]["case"] == "event_shape=(5,)"


def test_an_unknown_plugin_ends_with_4(capsys):
    assert main(["check-plugin", "nothing"]) == 4
    assert "must be that of an installed plugin, got 'nothing'" in capsys.readouterr().err


def test_a_wrong_component_is_found_for_real(capsys, monkeypatch):
    wrong = Component(
        "bijector",
        "kit.undescribed",
        spec="kit_specs:Undescribed",
        target="kit_parts:Scale",
        summary="a scale",
    )
    with use_registry(Registry()) as registry:
        registry.register(wrong, distribution="corekit-kit")
        monkeypatch.setattr("corekit.testing.plugin._distributions", lambda name: {"corekit-kit"})
        assert main(["check-plugin", "kit"]) == 4
    assert "every_field_is_described: every field must have" in capsys.readouterr().out
