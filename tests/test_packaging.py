"""The packages of the repository agree with each other; `.ci/run packaging` installs them."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from corekit import __version__
from corekit.registry import FIRST_PARTY, registry

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(ROOT.glob("plugins/*/"))


def field(text, name):
    return re.search(rf'^{name} = "(.+)"', text, re.MULTILINE)[1]


@pytest.fixture(params=PLUGINS, ids=lambda folder: folder.name)
def plugin(request):
    return request.param


@pytest.fixture
def project(plugin):
    return (plugin / "pyproject.toml").read_text()


def test_versions_move_together(project):
    assert field(project, "version") == __version__
    major, minor = map(int, __version__.split(".")[:2])
    assert f'"corekit>={major}.{minor},<{major}.{minor + 1}"' in project


def test_names_are_those_of_the_project(plugin, project):
    module = re.search(
        r"^\[project.entry-points.corekit\]\n(\w+) = \"(\w+)\"", project, re.MULTILINE
    )
    name = field(project, "name")
    assert name == f"corekit-{plugin.name}"
    assert module[2] == name.replace("-", "_")
    assert FIRST_PARTY[module[1]] == name


def test_a_package_is_whole(plugin, project):
    package = field(project, "name").replace("-", "_")
    for file in ("LICENSE", "README.md", f"src/{package}/py.typed"):
        assert (plugin / file).is_file(), file
    assert list(plugin.glob("examples/*.yaml"))
    assert list(plugin.glob("tests/test_*.py"))
    assert (plugin / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_a_package_is_installed_for_development_and_is_an_extra(plugin, project):
    lines = (ROOT / "requirements-dev.txt").read_text().splitlines()
    assert f"-e ./plugins/{plugin.name}" in lines
    root = (ROOT / "pyproject.toml").read_text()
    extra = re.search(rf'^(\w+) = \["{field(project, "name")}"\]$', root, re.MULTILINE)
    assert extra, "no extra installs it"
    assert re.search(rf"^all = .*\b{extra[1]}\b", root, re.MULTILINE)


def test_every_extra_is_there():
    """An extra that names a package which does not exist breaks `pip install corekit[all]`."""
    root = (ROOT / "pyproject.toml").read_text()
    names = {field((folder / "pyproject.toml").read_text(), "name") for folder in PLUGINS}
    assert set(re.findall(r'\["(corekit-[\w-]+)"\]', root)) == names


def test_what_is_installed_is_this_version():
    assert distribution("corekit").version == __version__
    assert {plugin.version for plugin in registry().plugins} == {__version__}
