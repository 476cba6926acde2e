"""`corekit new-plugin`: for every kind a package that works, and is refused where it would not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from installed import install, python

from corekit.cli.main import main
from corekit.cli.new_plugin import FILES, TEMPLATES
from corekit.registry import KINDS

ROOT = Path(__file__).parents[2]
RUFF_CONFIG = ROOT / "pyproject.toml"


def new(*arguments):
    """Run the command where the test stands."""
    return main(["new-plugin", *map(str, arguments)])


def ruff(*arguments, cwd):
    command = [sys.executable, "-m", "ruff", *arguments, "--config", str(RUFF_CONFIG), "--no-cache"]
    done = subprocess.run([*command, "."], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """One new package of each kind, installed: their folder, and the path to import them."""
    home = tmp_path_factory.mktemp("new")
    path = [home / "site"]
    for kind in TEMPLATES:
        name = f"new-{kind.replace('_', '-')}"
        assert new(name, "--kind", kind, "--out", home / name) == 0
        path.append(install(home / name, home / "site"))
    return home, path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- what is written ------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_kind_passes_its_own_tests_untouched(packages):
    home, path = packages
    quick = ["-m", "not slow", "-o", "markers=slow", "--import-mode=importlib"]
    strict = ["-p", "no:cacheprovider", "-W", "error", "--doctest-modules"]
    done = python("-m", "pytest", "-rA", "-q", *quick, *strict, cwd=home, path=path)
    assert done.returncode == 0, done.stdout
    for kind in TEMPLATES:
        own = re.findall(rf"^PASSED new-{kind.replace('_', '-')}/tests/(.+)", done.stdout, re.M)
        assert sum("test_promises[" in test for test in own) > 5, own
        assert any("test_promises[" not in test for test in own), own


def test_every_kind_has_the_style_of_this_project(packages):
    home, _ = packages
    for package in home.glob("new-*"):
        ruff("check", "--quiet", cwd=package)
        ruff("format", "--check", "--quiet", cwd=package)


@pytest.mark.slow
def test_every_example_is_valid_trains_and_samples(packages):
    home, path = packages
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from corekit.cli.main import main\n"
        "for spec in sorted(Path().glob('new-*/examples/*.yaml')):\n"
        "    run, short = spec.parts[0], ['--set', 'train.steps=2', '--set', 'train.device=cpu']\n"
        "    code = main(['validate', str(spec)])\n"
        "    code = code or main(['train', str(spec), '--run', run, '--quiet', *short])\n"
        "    code = code or main(['sample', f'runs/{run}', '--num', '2'])\n"
        "    if code: sys.exit(f'{spec} ended with {code}')\n"
    )
    done = python("-c", script, cwd=home, path=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("samples with seed") == len(TEMPLATES)


def test_every_kind_has_every_file_and_no_gap(packages):
    home, _ = packages
    assert set(TEMPLATES) < set(KINDS)
    for package in home.glob("new-*"):
        files = [p for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        assert len(files) == len(FILES) + 1  # and py.typed
        for file in files:
            # what is left of a dollar is a prompt in the README
            gaps = re.findall(r"\$[^ ].*", file.read_text(encoding="utf-8"))
            assert gaps == [], file


def test_a_name_of_the_authors_own_replaces_the_one_of_the_template(here):
    for number, kind in enumerate(TEMPLATES):
        assert new(f"plain-{number}", "--kind", kind, "--component", "something_else") == 0
        package = here / f"corekit-plain-{number}"
        ruff("check", "--quiet", cwd=package)
        written = "".join(p.read_text() for p in package.rglob("*") if p.is_file())
        assert "class SomethingElse(" in written
        assert f"plain-{number}.something_else" in written
        old = TEMPLATES[kind][0]
        assert f"plain-{number}.{old}" not in written
        assert f'"{old.title().replace("_", "")}:' not in written  # errors name the new one


def test_what_to_do_next_is_said_and_the_path_comes_last(here, capsys):
    assert new("tails", "--kind", "bijector", "--out", "work/tails") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  cd work/tails" in lines
    assert "  corekit check-plugin tails" in lines
    assert "  corekit train examples/sinh_arcsinh.yaml" in lines
    assert lines[-1] == "work/tails"


def test_it_needs_no_torch(here, python):
    probe = (
        "import sys; from corekit.cli.main import main;"
        "main(['new-plugin', 'tails', '--kind', 'prior']); print(*sys.modules)"
    )
    done = python("-c", probe)
    assert done.returncode == 0, done.stderr
    assert not {"torch", "numpy", "pydantic"} & set(done.stdout.split())


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["Tails"], "NAME must be lower-case letters, digits and single dashes"),
        (["my_tails"], "got 'my_tails'"),
        (["tails-"], "got 'tails-'"),
        (["2d"], "got '2d'"),
        (["corekit-tails"], "The package of 'tails' will be called corekit-tails."),
        (["glow"], "must not be that of a package of corekit's own, got 'glow'"),
        (["ddpm-improved"], "must not be that of a package of corekit's own"),
        (["tails", "--component", "Tails"], "--component must be lower-case words joined by '_'"),
        (["tails", "--component", "class"], "got 'class'"),
        (["tails", "--component", "specs"], "must not be a name that its files use themselves"),
        (["tails", "--component", "conformance"], "got 'conformance'"),
        (["tails", "--component", "tensor"], "got 'tensor' (class Tensor)"),
        (["tails", "--component", "bijector"], "got 'bijector' (class Bijector)"),
    ],
)
def test_a_name_that_cannot_work_is_refused(here, capsys, arguments, words):
    assert new(*arguments, "--kind", "bijector") == 2
    assert words in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_name_that_is_installed_is_refused(
    here, capsys, fake_distribution, discovered, monkeypatch
):
    from corekit.registry import use_registry

    fake_distribution("acme", "from toy_plugin import *")
    with use_registry(discovered()):
        assert new("acme", "--kind", "bijector") == 2
    assert "got 'acme', which corekit-acme 0.2 provides" in capsys.readouterr().err


def test_an_unknown_kind_is_refused_with_those_that_are_known(here, capsys):
    assert new("tails", "--kind", "bijectors") == 2
    assert (
        "got 'bijectors'. Did you mean 'bijector'? There is: bijector, " in capsys.readouterr().err
    )
    assert list(here.iterdir()) == []


def test_nothing_is_written_over(here, capsys):
    folder = here / "corekit-tails"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    assert new("tails", "--kind", "bijector") == 2
    assert "must be empty or not be there, got corekit-tails" in capsys.readouterr().err
    assert [p.name for p in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    assert new("tails", "--kind", "bijector") == 0
