"""The packages of the repository agree with each other; `.ci/run packaging` installs them."""

import importlib.util
import re
import zipfile
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


# -- the wheels -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def check_wheels():
    """The script that compares wheels with the source tree."""
    place = importlib.util.spec_from_file_location("check_wheels", ROOT / ".ci/check_wheels.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)
    return module


@pytest.fixture
def dist(tmp_path, check_wheels):
    """A folder of wheels like those of `make dist`: what each package has on disk, zipped."""
    for folder, known in (
        (tmp_path, check_wheels.OURS),
        (tmp_path / "examples", check_wheels.EXAMPLES),
    ):
        folder.mkdir(exist_ok=True)
        for name, package in known.items():
            with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
                for file in check_wheels.source_files(package):
                    wheel.writestr(file, "")
                group = "console_scripts" if name == "corekit" else "corekit"
                wheel.writestr(f"{name}-1.dist-info/entry_points.txt", f"[{group}]\na = b\n")
                wheel.writestr(f"{name}-1.dist-info/licenses/LICENSE", "")
    return tmp_path


def without(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        kept = {n: archive.read(n) for n in archive.namelist() if n != name}
    with zipfile.ZipFile(wheel, "w") as archive:
        for entry, content in kept.items():
            archive.writestr(entry, content)


def test_whole_wheels_pass(check_wheels, dist, capsys):
    assert check_wheels.main(dist) == 0
    assert capsys.readouterr().out == "6 + 1 wheels hold what they must, and no more\n"


def test_a_wheel_without_its_templates_or_its_marker_of_types_is_named(check_wheels, dist, capsys):
    without(dist / "corekit-1-py3-none-any.whl", "corekit/templates/metric/test.py.tmpl")
    without(dist / "examples/corekit_planar-1-py3-none-any.whl", "corekit_planar/py.typed")
    assert check_wheels.main(dist) == 1
    assert capsys.readouterr().out.splitlines() == [
        "corekit-1-py3-none-any.whl: lacks corekit/templates/metric/test.py.tmpl",
        "corekit_planar-1-py3-none-any.whl: lacks corekit_planar/py.typed",
    ]


def test_an_example_is_not_among_our_own_wheels(check_wheels, dist, capsys):
    wheel = dist / "examples" / "corekit_planar-1-py3-none-any.whl"
    wheel.rename(dist / wheel.name)
    assert check_wheels.main(dist) == 1
    out = capsys.readouterr().out
    assert f"{wheel.name}: holds 'corekit_planar', not one of corekit, " in out
    assert "examples: lacks a wheel of corekit_planar" in out
