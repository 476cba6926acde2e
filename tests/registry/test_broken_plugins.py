"""Every way to be broken that we know of, installed together: the good plugin does not notice."""

import json

import pytest

DECLARE = """
from corekit.registry import Component, hookimpl

@hookimpl
def corekit_components():
    return [Component("bijector", "{0}.linear", spec="good_specs:LinearSpec",
                      target="corekit.flows.linear:Linear", summary="works")]
"""
SPECS = """
from corekit.spec.flows import LinearSpec as Base

class LinearSpec(Base):
    type: str = "good.linear"
"""

# plugin: its module, the stage, and words of the reason
BROKEN = {
    "importing": ("import einops_not_there", "import", "No module named 'einops_not_there'"),
    "exiting": ("import sys\nsys.exit(3)", "import", "SystemExit: 3"),
    "old_api": ("API = '0.3'", "api", "it speaks plugin API 0.3, this corekit 1.0. Update the pl"),
    "misspelt": (
        DECLARE.replace("corekit_components", "corekit_component"),
        "register",
        "there is no hook 'corekit_component'. Did you mean 'corekit_components'?",
    ),
    "arguments": (
        DECLARE.replace("corekit_components()", "corekit_components(registry)"),
        "register",
        "can not be found in the hookspec",
    ),
    "raising": (DECLARE.replace("return [", "1 / 0; return ["), "declare", "ZeroDivisionError"),
    "foreign": (DECLARE.format("good"), "namespace", "must start with 'foreign.'"),
    "twin": (DECLARE.format("twin"), "conflict", "provided by corekit-twin 0.2 and other-twin 9"),
    "heavy": ("import torch\n" + DECLARE.format("heavy"), "slow", "it imports torch, numpy when"),
    "newer": ("raise OSError('imported')", "version", "it needs corekit>=0.3,<0.4, this is 0.1"),
    "kind": (DECLARE.format("kind").replace('"bijector"', '"bijetor"'), "declare", "'bijector'?"),
}
SPEC = "{version: 1, model: {type: flow, bijector: good.linear}, data: toy2d}"


@pytest.fixture
def broken(fake_distribution, site):
    """All of them, and a good one."""
    fake_distribution("good", DECLARE.format("good"))
    (site / "good_specs.py").write_text(SPECS)
    for plugin, (body, stage, _) in BROKEN.items():
        requires = ["corekit>=0.3,<0.4"] if stage == "version" else ["corekit>=0.1"]
        fake_distribution(plugin, body, requires=requires)
    fake_distribution("twin", "", distribution="other-twin", version="9", module="fake_other")


@pytest.mark.usefixtures("broken")
def test_each_is_named_with_its_reason(python):
    facts = json.loads(python("-m", "corekit", "plugins", "--json").stdout)
    problems = {problem["plugin"]: problem for problem in facts["problems"]}
    assert set(problems) == set(BROKEN)
    for plugin, (_, stage, words) in BROKEN.items():
        assert problems[plugin]["stage"] == stage
        assert words in problems[plugin]["message"]
        assert problems[plugin]["fatal"] == (stage != "slow")
    # both twins, and each other once
    assert len(facts["problems"]) == len(BROKEN) + 1
    plugins = {plugin["name"]: plugin for plugin in facts["plugins"]}
    assert plugins["newer"]["load_ms"] is plugins["twin"]["load_ms"] is None  # not imported
    assert 50 < plugins["heavy"]["load_ms"] > plugins["good"]["load_ms"]
    assert plugins["heavy"]["status"] == plugins["good"]["status"] == "ok"
    assert plugins["foreign"]["status"] == "partial"
    assert plugins["raising"]["status"] == "failed"


@pytest.mark.usefixtures("broken")
def test_people_read_the_same_as_scripts(python):
    shown = python("-m", "corekit", "plugins", "--problems")
    assert (shown.returncode, shown.stderr) == (0, "")
    for plugin, (_, _, words) in BROKEN.items():
        start = f"problem: corekit-{plugin} "
        (line,) = [line for line in shown.stdout.splitlines() if line.startswith(start)]
        assert words in line
    assert "ZeroDivisionError: division by zero" in shown.stdout


@pytest.mark.usefixtures("broken")
def test_everything_else_works(python, write):
    name = write(SPEC)
    assert "spec.yaml: valid" in python("-m", "corekit", "validate", name).stdout
    listed = python("-m", "corekit", "components", "bijector", "--json")
    names = {component["name"] for component in json.loads(listed.stdout)}
    assert {"good.linear", "heavy.linear", "chain", "linear"} <= names
    assert not any(name.partition(".")[0] in {*BROKEN} - {"heavy"} for name in names)
    few = ["--set", "train={steps: 2, device: cpu}", "--quiet"]
    done = python("-m", "corekit", "train", name, *few)
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("broken")
def test_times_are_a_column(python):
    lines = python("-m", "corekit", "plugins", "--times").stdout.splitlines()
    assert lines[0].split() == ["NAME", "DISTRIBUTION", "VERSION", "STATUS", "COMPONENTS", "MS"]
    times = {line.split()[0]: line.split()[-1] for line in lines[1:] if "problem:" not in line}
    assert float(times["good"]) >= 0
    assert times["newer"] == "-"


@pytest.mark.usefixtures("broken")
def test_strict_mode_names_all_of_them_and_stops(python, write):
    done = python("-m", "corekit", "validate", write(SPEC), COREKIT_STRICT_PLUGINS="1")
    assert done.returncode == 4
    assert done.stderr.startswith("error: COREKIT_STRICT_PLUGINS is set, and plugins have probl")
    for _, _, words in BROKEN.values():
        assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("broken")
def test_a_spec_that_needs_them_is_told_why(python, write):
    of = "{type: chain, of: [newer.part, raising.part, heavy.part]}"
    done = python("-m", "corekit", "validate", write(SPEC.replace("good.linear", of)))
    assert done.returncode == 3
    for words in (
        "corekit-newer 0.2 does not fit this corekit: it needs corekit>=0.3,<0.4",
        "corekit-raising 0.2 failed to declare its components: ZeroDivisionError",
        "No bijector named 'heavy.part'. Did you mean 'heavy.linear'",
    ):
        assert words in done.stderr


def test_a_plugin_that_imports_torch_after_something_else_did_is_not_blamed(
    fake_distribution, discovered
):
    import torch  # noqa: F401

    fake_distribution("heavy", "import torch\n" + DECLARE.format("heavy"))
    assert not discovered().problems


def test_a_heavy_import_inside_the_hook_counts(fake_distribution, python):
    body = DECLARE.format("sly").replace("    return [", "    import pydantic\n    return [")
    fake_distribution("sly", body)
    shown = python("-m", "corekit", "plugins").stdout
    assert "problem: corekit-sly 0.2 slows every command down: it imports pydantic when" in shown
    assert "sly" in shown.split("problem:")[0]
