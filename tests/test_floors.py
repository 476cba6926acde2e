"""Imports only fall, and each floor uses its own third-party packages and no others."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "corekit"

FLOORS = {
    0: ("errors", "data_spec", "__init__"),
    1: ("registry",),
    2: ("spec",),
    3: ("interfaces",),
    4: ("flows", "diffusion", "latent", "data", "metrics", "nn"),
    5: ("build", "checkpoint"),
    6: ("train", "report"),
    7: ("cli", "__main__"),
}
TESTING = 6  # corekit.testing stands beside: it may use floors 0 to 5; one command uses it
NUMERIC = {"torch", "numpy", "scipy"}
THIRD_PARTY = {
    0: set(),
    1: {"pluggy"},
    2: {"pydantic", "pydantic_core", "typing_extensions", "yaml"},
    3: {"torch", "numpy"},
    4: NUMERIC | {"h5py", "PIL", "sklearn"},
    5: NUMERIC | {"safetensors"},
    6: NUMERIC | {"safetensors", "PIL", "matplotlib", "rich"},
    7: NUMERIC | {"rich", "PIL", "pydantic"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names} | {"testing": TESTING}


def part(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


def imports(path):
    """Every imported module with its line; the names after `from corekit import` count too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            names = [alias.name for alias in node.names] if node.module == "corekit" else []
            modules = [f"corekit.{name}" for name in names if name in FLOOR] or [node.module]
            yield from ((module, node.lineno) for module in modules)


def violations(path):
    me = part(path)
    allowed = set(sys.stdlib_module_names) | THIRD_PARTY[FLOOR[me]]
    allowed |= {"accelerate"} if me == "train" else set()
    allowed |= {"pytest", "pydantic", "PIL", "h5py"} if me == "testing" else set()
    for module, line in imports(path):
        top, _, rest = module.partition(".")
        other = rest.partition(".")[0] or "__init__"
        if top != "corekit":
            if top not in allowed:
                yield f"{path}:{line}: floor {FLOOR[me]} must not import {top}"
        elif other == "testing" and path.name == "check_plugin.py":
            continue  # the one command that runs the kit
        elif FLOOR[other] > FLOOR[me] or (other == "testing" != me):
            yield f"{path}:{line}: floor {FLOOR[me]} must not import {module}, floor {FLOOR[other]}"
        elif {me, other} == {"report", "testing"} or (me, other) == ("testing", "train"):
            yield f"{path}:{line}: {me} must not import {module}"


def test_every_module_has_a_floor():
    assert {part(path) for path in ROOT.rglob("*.py")} <= set(FLOOR)


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_imports_only_fall(name):
    files = [path for path in ROOT.rglob("*.py") if part(path) == name]
    assert [problem for path in files for problem in violations(path)] == []
