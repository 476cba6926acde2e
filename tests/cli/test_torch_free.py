"""The commands that need no torch: what they print, and their exit codes."""

import json

import pytest

from corekit.cli import main as cli
from corekit.cli.main import COMMANDS, main
from corekit.errors import DivergedError
from corekit.registry import use_registry

SPEC = """\
version: 1
model:
  type: flow
  bijector: {type: repeat, times: 2, of: toy.keep}
data: {type: toy.file, path: spec.yaml}
"""

pytestmark = pytest.mark.usefixtures("toys")


@pytest.fixture
def corekit(capsys):
    """Run a command in this process: exit code, output, errors."""

    def run(*arguments):
        code = main(arguments)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


# -- the main command ----------------------------------------------------------------------------


def test_help_names_every_command_and_exit_code(corekit):
    code, out, _ = corekit("--help")
    assert code == 0
    for name, (_, summary) in COMMANDS.items():
        assert name in out
        assert summary[:20] in out
    assert "75 preempted" in out


def test_version(corekit):
    from corekit import __version__

    assert corekit("--version") == (0, f"corekit {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vaildate"], "error: no command named 'vaildate'. Did you mean 'validate'? Commands: "),
        (["validate"], "error: the following arguments are required: SPEC"),
        (["plugins", "--jsn"], "error: unrecognized arguments: --jsn"),
        (["validate", "none.yaml"], "error: the spec cannot be read: none.yaml: No such file"),
        (["components", "prio"], "error: no kind named 'prio'. Did you mean 'prior'? Kinds: "),
    ],
)
def test_a_mistake_of_usage_exits_with_2(corekit, arguments, words):
    code, out, err = corekit(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(words)


def test_no_command_prints_the_help_and_exits_with_2(corekit):
    code, out, _ = corekit()
    assert code == 2
    assert "commands:" in out


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (DivergedError("the loss must be finite, got nan."), 6, "error: the loss must be finite"),
        (RuntimeError("oops"), 1, "error: internal: RuntimeError: oops\nRun it again with --debug"),
    ],
)
def test_every_error_becomes_an_exit_code(corekit, monkeypatch, error, code, words):
    def fail(args):
        raise error

    monkeypatch.setattr("corekit.cli.plugins.run", fail)
    found, _, err = corekit("plugins")
    assert found == code
    assert err.startswith(words)
    assert "Traceback" not in err


@pytest.mark.parametrize("arguments", [["--debug", "plugins"], ["plugins", "--debug"]])
def test_debug_shows_the_traceback(corekit, monkeypatch, arguments):
    def fail(args):
        raise DivergedError("nan")

    monkeypatch.setattr("corekit.cli.plugins.run", fail)
    code, _, err = corekit(*arguments)
    assert code == 6
    assert "Traceback" in err
    assert "in fail" in err


def test_only_the_module_of_the_command_is_imported(corekit, monkeypatch):
    imported = []
    original = cli.import_module
    monkeypatch.setattr(cli, "import_module", lambda name: imported.append(name) or original(name))
    corekit("components")
    assert imported == ["corekit.cli.components"]


def test_a_reader_that_goes_away_is_no_error(python):
    done = python(
        "-c",
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-m', 'corekit', 'components', '--json'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "p.stdout.close()\n"
        "print(p.stderr.read().decode(), p.wait())",
    )
    assert done.stdout.strip() == "0"


# -- plugins -------------------------------------------------------------------------------------


def test_plugins_are_listed_with_their_problems(corekit, fake_distribution, discovered):
    fake_distribution("acme", "from toy_plugin import *")
    fake_distribution("broken", "import einops_not_there")
    with use_registry(discovered()):
        code, out, _ = corekit("plugins")
        assert code == 0
        assert "NAME    DISTRIBUTION    VERSION  STATUS   COMPONENTS" in out
        assert "broken  corekit-broken  0.2      failed   0" in out
        assert "problem: corekit-broken 0.2 failed to import: ModuleNotFoundError" in out
        _, out, _ = corekit("plugins", "--problems")
        assert "Traceback" in out
        assert "fake_broken.py" in out
        facts = json.loads(corekit("plugins", "--json")[1])
    assert [plugin["status"] for plugin in facts["plugins"]] == ["partial", "failed"]
    assert {problem["stage"] for problem in facts["problems"]} == {"namespace", "import"}


def test_no_plugins_is_said(corekit):
    assert "no plugins are installed" in corekit("plugins")[1]
    assert corekit("plugins", "--problems") == (0, "no problems\n", "")


# -- components and show -------------------------------------------------------------------------


def test_components_of_one_kind(corekit):
    code, out, _ = corekit("components", "prior")
    assert code == 0
    names = [line.split()[1] for line in out.splitlines()[1:]]
    assert {"diffusion", "flow", "normal"} <= set(names)
    assert names == sorted(names)
    facts = json.loads(corekit("components", "encoder", "--json")[1])
    assert facts[0]["distribution"] == "corekit-toy"
    assert corekit("components", "quantizer")[1] == "no quantizer is installed\n"


def test_show_describes_fields_defaults_and_an_example(corekit):
    code, out, _ = corekit("show", "toy.linear")
    assert code == 0
    assert "toy.linear   noise_schedule, from corekit-toy 0.3" in out
    assert "steps  int ≥ 2  required  number of steps" in out
    assert "{type: toy.linear, steps: 100}" in out


def test_show_finds_a_bare_name_that_one_plugin_has(corekit):
    assert "toy.keep   bijector" in corekit("show", "keep")[1]


def test_show_describes_every_kind_of_a_name(corekit):
    facts = json.loads(corekit("show", "diffusion", "--json")[1])
    assert [entry["kind"] for entry in facts] == ["decoder", "model", "prior"]
    assert len(json.loads(corekit("show", "flow", "--kind", "prior", "--json")[1])) == 1


def test_show_of_nothing_exits_with_4(corekit):
    code, _, err = corekit("show", "glow.actnorm")
    assert code == 4
    assert "error: No component named 'glow.actnorm'." in err
    assert "pip install corekit-glow" in err


# -- validate and resolve ------------------------------------------------------------------------


def test_a_valid_spec(corekit, write):
    assert corekit("validate", write(SPEC)) == (0, "spec.yaml: valid\n", "")
    facts = json.loads(corekit("validate", "spec.yaml", "--json")[1])
    assert facts == {"file": "spec.yaml", "valid": True, "problems": []}


@pytest.mark.parametrize(
    ("old", "new", "code", "words"),
    [
        ("times", "tiems", 3, "unknown key 'tiems'; did you mean 'times'? (allowed: type, times"),
        ("toy.keep", "glow.actnorm", 4, "pip install corekit-glow"),
        ("path: spec.yaml", "path: no.h5", 5, "toy.file: path must be a file, got 'no.h5'"),
        (
            "of: toy.keep}",
            "of: toy.keep}\n  base: {type: normal, features: 3}",
            3,
            "must be 192 for",
        ),
    ],
)
def test_what_is_wrong_decides_the_exit_code(corekit, write, old, new, code, words):
    found, out, err = corekit("validate", write(SPEC.replace(old, new)))
    assert (found, out) == (code, "")
    assert err.startswith("error: spec.yaml:")
    assert words in err
    found, out, err = corekit("validate", "spec.yaml", "--json")
    facts = json.loads(out)
    assert (found, err, facts["valid"]) == (code, "", False)
    assert words in facts["problems"][-1]["message"]
    assert {"file", "line", "column", "path", "code", "message", "suggestions"} <= set(
        facts["problems"][0]
    )


def test_two_mistakes_are_two_errors(corekit, write):
    text = SPEC.replace("times", "tiems")
    code, _, err = corekit("validate", write(text))
    assert code == 3
    assert [line.split(":")[0] for line in err.splitlines() if "spec.yaml" in line] == ["error"] * 2
    assert err.endswith("2 problems\n")


def test_set_reaches_validate_and_resolve(corekit, write):
    name = write(SPEC)
    code, _, err = corekit("validate", name, "--set", "train.steps=x")
    assert code == 3
    assert "error: --set #1:1:1: train.steps: must be an integer" in err
    code, out, _ = corekit("resolve", name, "--set", "train.steps=7", "--json")
    assert (code, json.loads(out)["train"]["steps"]) == (0, 7)


def test_what_resolve_prints_is_a_spec(corekit, write):
    _, out, _ = corekit("resolve", write(SPEC))
    assert "optimizer:\n    type: adam\n    lr: 0.001" in out
    assert corekit("resolve", write(out, "again.yaml"))[1] == out


def test_a_plugin_of_a_broken_distribution_is_quoted_in_a_real_process(
    python, fake_distribution, write
):
    fake_distribution("acme", "raise RuntimeError('built for another world')")
    done = python("-m", "corekit", "validate", write(SPEC.replace("toy.file", "acme.file")))
    assert done.returncode == 4
    assert "corekit-acme 0.2 failed to import: RuntimeError: built for another wor" in done.stderr
    assert "Traceback" not in done.stderr


def test_twins_are_quoted_in_a_real_process(python, fake_distribution, write):
    for side in ("a", "b"):
        fake_distribution("acme", "", distribution=f"corekit-acme-{side}")
    done = python("-m", "corekit", "validate", write(SPEC.replace("toy.file", "acme.file")))
    assert done.returncode == 4
    assert "provided by corekit-acme-a 0.2 and corekit-acme-b 0.2; none is used" in done.stderr
