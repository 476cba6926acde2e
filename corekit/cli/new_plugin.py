"""`corekit new-plugin`: a package with one working component, to be made one's own."""

from __future__ import annotations

import argparse
import difflib
import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from corekit import __version__
from corekit.errors import UsageError
from corekit.registry import FIRST_PARTY, registry

# Of each kind: (name of the component, one line for `corekit components`)
TEMPLATES = {
    "bijector": ("sinh_arcsinh", "skew and tail weight of each value, learned"),
    "denoiser": ("mlp", "a perceptron that denoises vectors"),
    "noise_schedule": ("shifted_cosine", "a cosine in continuous time, with more or less noise"),
    "encoder": ("gaussian", "a perceptron that gives a Gaussian over latents"),
    "prior": ("laplace", "independent Laplace values, location and scale learned"),
    "loss": ("capacity", "reconstruction, and a KL divergence held at a capacity"),
    "timestep_sampler": ("power", "times from a power law, weighted to stay unbiased"),
    "dataset": ("rose", "points near a rose curve in the plane"),
    "metric": ("energy", "energy distance between samples and held-out data"),
}

# template: where it goes
FILES = {
    "common/pyproject.toml": "pyproject.toml",
    "common/README.md": "README.md",
    "common/declaration.py": "src/$package/__init__.py",
    "$kind/specs.py": "src/$package/specs.py",
    "$kind/component.py": "src/$package/$component.py",
    "$kind/conformance.py": "src/$package/conformance.py",
    "$kind/test.py": "tests/test_$component.py",
    "$kind/example.yaml": "examples/$component.yaml",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "name", metavar="NAME", help="of the plugin: tails makes the package corekit-tails"
    )
    parser.add_argument(
        "--kind", required=True, metavar="KIND", help=f"of its component: {', '.join(TEMPLATES)}"
    )
    parser.add_argument(
        "--component", metavar="NAME", help="of that component, if not as the template has it"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="where; corekit-NAME in this folder if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Write the package; what to do next, and its path last."""
    _check_kind(args.kind)
    component, summary = TEMPLATES[args.kind]
    component = args.component or component
    _check_name(args.name)
    _check_component(args.kind, component)
    folder = Path(args.out or f"corekit-{args.name}")
    _check_folder(folder)
    write(folder, args.name, args.kind, component, summary)
    print(f"{args.kind} {args.name}.{component}, complete and working. Next:")
    print(f"  cd {folder}")
    print("  pip install -e '.[test]'")
    print("  pytest")
    print(f"  corekit check-plugin {args.name}")
    print(f"  corekit train examples/{component}.yaml")
    print(f"Then put your own mathematics into src/{_package(args.name)}/{component}.py.")
    print(folder)
    return 0


def write(folder: Path, name: str, kind: str, component: str, summary: str) -> None:
    """Fill the templates of a kind."""
    major, minor, *_ = map(int, re.findall(r"\d+", __version__))
    facts = {
        "plugin": name,
        "distribution": f"corekit-{name}",
        "package": _package(name),
        "kind": kind,
        "component": component,
        "Class": _class(component),
        "summary": summary,
        "corekit": f"corekit>={major}.{minor},<{major}.{minor + 1}",
    }
    for template, target in FILES.items():
        text = _template(Template(template).substitute(facts))
        file = folder / Template(target).substitute(facts)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(text).substitute(facts), encoding="utf-8")
    (folder / "src" / _package(name) / "py.typed").touch()


def _template(name: str) -> str:
    file = files("corekit").joinpath("templates", *f"{name}.tmpl".split("/"))
    return file.read_text(encoding="utf-8")


def _package(name: str) -> str:
    return f"corekit_{name.replace('-', '_')}"


def _class(component: str) -> str:
    return "".join(word.capitalize() for word in component.split("_"))


def _check_kind(kind: str) -> None:
    """Refuse a kind that has no template."""
    if kind not in TEMPLATES:
        near = difflib.get_close_matches(kind, TEMPLATES, 1)
        raise UsageError(
            f"new-plugin: --kind must be one that has a template, got {kind!r}."
            f"{f' Did you mean {near[0]!r}?' if near else ''} There is: {', '.join(TEMPLATES)}."
        )


def _check_name(name: str) -> None:
    """Refuse a plugin name that is not of the form, or taken."""
    if name.startswith("corekit"):
        rest = name.removeprefix("corekit").lstrip("-_") or "tails"
        raise UsageError(
            f"new-plugin: NAME must leave out 'corekit', got {name!r}. The package of {rest!r} "
            f"will be called corekit-{rest}."
        )
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UsageError(
            "new-plugin: NAME must be lower-case letters, digits and single dashes, like "
            f"'tails' or 'neural-splines', got {name!r}."
        )
    own = {*FIRST_PARTY, *(d.removeprefix("corekit-") for d in FIRST_PARTY.values())}
    if name in own:
        raise UsageError(
            f"new-plugin: NAME must not be that of a package of corekit's own, got {name!r}. "
            f"Taken: {', '.join(sorted(own))}."
        )
    for plugin in registry().plugins:
        if plugin.name == name or plugin.distribution == f"corekit-{name}":
            raise UsageError(
                f"new-plugin: NAME must not be installed already, got {name!r}, which "
                f"{plugin.distribution} {plugin.version} provides. Choose another name, or "
                "uninstall that one."
            )


def _check_component(kind: str, component: str) -> None:
    """Refuse a component name that could not be a module, or whose class would hide another."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", component) or keyword.iskeyword(component):
        raise UsageError(
            "new-plugin: --component must be lower-case words joined by '_', like "
            f"'sinh_arcsinh', got {component!r}."
        )
    text = "".join(_template(f"{kind}/{file}.py") for file in ("specs", "component", "test"))
    lines = re.findall(r"^ *(?:from \S+ import|import|class) (.+)", text, re.MULTILINE)
    taken = {"Specs", "Conformance", *re.findall(r"\w+", " ".join(lines))}
    if _class(component) in taken:
        raise UsageError(
            "new-plugin: --component must not be a name that its files use themselves, got "
            f"{component!r} (class {_class(component)}). Choose a longer one."
        )


def _check_folder(folder: Path) -> None:
    """Refuse to write over anything."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(
            f"new-plugin: the folder must be empty or not be there, got {folder}. "
            "Name another with --out."
        )
