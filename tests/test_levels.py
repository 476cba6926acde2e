"""Each level of cost imports what it needs and no more: checked in a process of its own."""

import json

import pytest

HEAVY = {"torch", "numpy", "h5py", "accelerate", "rich", "scipy", "matplotlib", "PIL"}
SPEC = """\
version: 1
model: {type: flow, bijector: {type: repeat, times: 2, of: toy.keep}}
data: shapes3d
"""
IDLE = """
from corekit.registry import Component, hookimpl

@hookimpl
def corekit_components():
    return [Component("bijector", "idle.part", spec="torch:Spec", target="torch:nn", summary="")]
"""
PROBE = """
import json, sys
from corekit.cli.main import main
code = main(sys.argv[1:])
print(json.dumps([code, sorted(sys.modules)]))
"""


@pytest.fixture
def modules(python):
    """Run a command, return the top-level packages and the modules of corekit that it imported."""

    def run(*arguments):
        done = python("-W", "error", "-c", PROBE, *arguments)
        assert done.returncode == 0, done.stderr
        code, names = json.loads(done.stdout.splitlines()[-1])
        assert code == 0, done.stderr
        return {name for name in names if "." not in name or name.startswith("corekit")}

    return run


def test_help_imports_no_command_and_no_registry(modules):
    loaded = modules("--help")
    assert not loaded & (HEAVY | {"pydantic", "yaml", "pluggy"})
    assert {name for name in loaded if name.startswith("corekit")} == {
        "corekit",
        "corekit.cli",
        "corekit.cli.main",
        "corekit.errors",
    }


@pytest.mark.parametrize("command", ["plugins", "components"])
def test_listing_imports_no_spec(modules, command, fake_distribution):
    fake_distribution("toy", "from toy_plugin import *", module="fake_toy")
    loaded = modules(command, "--json")
    assert not loaded & (HEAVY | {"pydantic", "yaml", "toy_specs"})
    assert {"fake_toy", "toy_plugin"} <= loaded
    assert not any(name.startswith("corekit.spec") for name in loaded)


@pytest.mark.parametrize("command", ["validate", "resolve"])
def test_reading_a_spec_imports_no_torch_and_no_plugin_that_is_not_named(
    modules, command, fake_distribution, write
):
    fake_distribution("toy", "from toy_plugin import *", module="fake_toy")
    fake_distribution("idle", IDLE)
    loaded = modules(command, write(SPEC))
    assert not loaded & HEAVY
    assert {"pydantic", "yaml", "corekit.spec", "fake_idle", "toy_specs"} <= loaded


def test_show_imports_one_spec_and_no_torch(modules):
    assert not modules("show", "linear") & HEAVY


@pytest.mark.parametrize("command", ["schema", "new-spec"])
def test_schema_and_new_spec_need_no_torch(modules, command):
    assert not modules(command) & HEAVY


def test_importing_corekit_imports_nothing_heavy(python):
    done = python("-c", "import corekit, sys; print(*sys.modules)")
    assert not set(done.stdout.split()) & (HEAVY | {"pydantic", "yaml", "pluggy", "argparse"})


def test_specs_and_every_core_spec_need_no_torch(python):
    probe = (
        "import sys; from corekit.registry import Registry; r = Registry();"
        "[r.load_spec(c) for c in r.components()];"
        "import corekit.spec.describe; print(*sys.modules)"
    )
    done = python("-c", probe)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & HEAVY
