"""The example of a third party's package works as one: nothing of ours knows it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from installed import install, python

from corekit import __version__
from corekit.registry import FIRST_PARTY, registry

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "corekit-planar"
SPEC = "examples/planar.yaml"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run Python beside a copy of the package, installed, outside the checkout."""
    home = tmp_path_factory.mktemp("third-party")
    package = home / "corekit-planar"
    shutil.copytree(EXAMPLE, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = [install(package, home / "site"), home / "site"]

    def in_package(*arguments):
        return python(*arguments, cwd=package, path=path)

    return in_package


@pytest.fixture(scope="module")
def corekit(run):
    """Run commands there, in one process; returns what they printed."""

    def commands(*lines):
        script = "import sys; from corekit.cli.main import main\n"
        done = run(
            "-c", script + "".join(f"main({line.split()}) and sys.exit(1)\n" for line in lines)
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return commands


@pytest.mark.slow
def test_its_tests_and_doctests_pass(run):
    strict = ["-W", "error", "-p", "no:cacheprovider", "--doctest-modules"]
    done = run("-m", "pytest", "-q", "-rA", *strict)
    assert done.returncode == 0, done.stdout
    for test in ("test_planar[inverse_undoes_forward", "test_the_inverse_solves", "planar.Planar"):
        assert f"::{test}" in done.stdout or f".{test}" in done.stdout


def test_the_code_of_its_readme_runs(run):
    (code,) = re.findall(r"^```python\n(.+?)^```", (EXAMPLE / "README.md").read_text(), re.M | re.S)
    done = run("-c", code)
    assert done.returncode == 0, done.stderr


def test_it_is_a_bijector_like_any_other(corekit):
    printed = corekit("components bijector", "show planar.planar", f"validate {SPEC}")
    assert re.search(r"planar\.planar +corekit-planar", printed)
    assert "length of w in a new layer" in printed
    assert printed.endswith(f"{SPEC}: valid\n")


@pytest.mark.slow
def test_its_example_trains_and_its_samples_are_drawn(corekit):
    printed = corekit(
        f"train {SPEC} --quiet --set train.steps=40 --set train.lr_schedule=constant"
        " --set train.device=cpu",
        "sample runs/planar --num 50",
        "evaluate runs/planar --json",
    )
    assert "50 samples with seed 0" in printed
    figures = json.loads(printed[printed.index("\n{") :])["figures"]
    nats = next(figure for figure in figures if figure["name"] == "test/log_prob")
    assert nats["protocol"]["kind"] == "exact"
    assert -3.4 < nats["value"] < nats["references"]["data"]  # -3.9 before training


def test_nothing_of_ours_imports_it_or_has_it_installed():
    files = [p for part in ("corekit", "plugins", "docs") for p in (ROOT / part).rglob("*.py")]
    files += [p for p in (ROOT / "tests").rglob("*.py") if p != Path(__file__)]
    imports = re.compile(r"^\s*(import|from) corekit_planar", re.MULTILINE)
    assert [p for p in files if imports.search(p.read_text(encoding="utf-8"))] == []
    assert "planar" not in FIRST_PARTY
    assert "planar" not in (ROOT / "requirements-dev.txt").read_text()
    assert all(plugin.distribution != "corekit-planar" for plugin in registry().plugins)


def test_it_needs_this_version_of_corekit_and_nothing_else():
    major, minor = map(int, __version__.split(".")[:2])
    project = (EXAMPLE / "pyproject.toml").read_text()
    assert f'dependencies = ["corekit>={major}.{minor},<{major}.{minor + 1}"]\n' in project
    for file in ("LICENSE", "README.md", "src/corekit_planar/py.typed"):
        assert (EXAMPLE / file).is_file(), file
