"""Write the generated parts of the documentation, or check that they are fresh.

    python docs/generate.py            # write
    python docs/generate.py --check    # say which pages are stale, and end with 1

A page marks a generated part by two comments; what is between them is replaced:

    <!-- generated: options of train -->
    ...
    <!-- end -->
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from corekit.cli.main import COMMANDS
from corekit.registry import KINDS, Component, registry
from corekit.spec import RunSpec, Section, TrainSpec, spec_class
from corekit.spec.describe import FieldDoc, example, fields, summary
from corekit.spec.stages import StageSpec
from corekit.spec.yaml12 import Dumper
from corekit.testing.component import SUITES

ROOT = Path(__file__).parents[1]
PAGES = (
    ROOT / "README.md",
    *sorted(page for page in ROOT.glob("docs/**/*.md") if "_build" not in page.parts),
    *sorted(ROOT.glob("plugins/*/README.md")),
)
MARK = re.compile(r"(<!-- generated: ([\w ./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A Markdown table; bars inside cells are escaped."""
    lines = [header, tuple("---" for _ in header), *rows]
    cells = [[cell.replace("|", "&#124;") for cell in line] for line in lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


# -- commands -----------------------------------------------------------------------------------


def options_of(name: str) -> str:
    """The usage line of a command (or of one of its actions) and the table of its arguments."""
    command, *actions_below = name.split()
    parser = argparse.ArgumentParser(prog=f"corekit {command}")
    import_module(COMMANDS[command][0]).add_arguments(parser)
    for action in actions_below:
        parser = _choices(parser)[action]
    actions = [a for a in parser._actions if not isinstance(a, argparse._HelpAction)]
    positional = [a for a in actions if not a.option_strings]
    words = [_metavar(a) if a.nargs != "?" else f"[{_metavar(a)}]" for a in positional]
    words += [_option(a) for a in actions if a.option_strings and a.required]
    optional = [a for a in actions if a.option_strings and not a.required]
    usage = " ".join(["corekit", name, *words, *(["[options]"] if optional else [])])
    rows = [(f"`{_option(a)}`", _sentence(a.help)) for a in actions]
    arguments = table(("argument", "meaning"), rows) if rows else ""
    return f"```text\n{usage}\n```\n\n{arguments}"


def _choices(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of the actions below a command."""
    below = (a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(next(below, {}))


def _actions_of(name: str) -> list[str]:
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[name][0]).add_arguments(parser)
    return [f"{name} {action}" for action in _choices(parser)]


def _option(action: argparse.Action) -> str:
    if not action.option_strings:
        return _metavar(action)
    name = ", ".join(action.option_strings)
    return name if action.nargs == 0 else f"{name} {_metavar(action)}"


def _metavar(action: argparse.Action) -> str:
    if action.choices:
        return "|".join(map(str, action.choices))
    return str(action.metavar or action.dest.upper())


def _sentence(text: str | None) -> str:
    return (text or "").replace("%%", "%")


def commands() -> str:
    """Every command with its line of help."""
    rows = [(f"[`{name}`](commands.md#{name})", line) for name, (_, line) in COMMANDS.items()]
    return table(("command", "what it does"), rows)


# -- specs --------------------------------------------------------------------------------------


def fields_table(spec: type[Section]) -> str:
    """The fields of a spec class."""
    rows = [(f"`{f.name}`", f.type, _default(f), f.description) for f in fields(spec)]
    return table(("field", "type", "default", "meaning"), rows) if rows else "No fields.\n"


def _default(field: FieldDoc) -> str:
    return "required" if field.required else f"`{json.dumps(field.default, ensure_ascii=False)}`"


def components() -> str:
    """Every component of every installed package, by kind."""
    order = dict.fromkeys([*KINDS, *(c.kind for c in registry().components())])
    found = [(kind, registry().components(kind)) for kind in order]
    contents = " · ".join(f"[{kind}](#{kind})" for kind, members in found if members)
    sections = [_kind(kind, members) for kind, members in found if members]
    return f"{contents}\n\n" + "\n".join(sections)


def _kind(kind: str, members: tuple[Component, ...]) -> str:
    parts = [_component(c) for c in sorted(members, key=lambda c: ("." in c.name, c.name))]
    return f"## {kind}\n\n" + "\n".join(parts)


def _component(component: Component) -> str:
    spec = spec_class(component.kind, component.name)
    distribution = registry().provenance(component)["distribution"]
    smallest = yaml.dump(
        example(spec), Dumper=Dumper, default_flow_style=True, width=1000, sort_keys=False
    )
    return (
        f"### {component.kind} `{component.name}`\n\n"
        f"{summary(spec)} From {distribution}. Smallest form: `{smallest.strip()}`\n\n"
        f"{fields_table(spec)}"
    )


def packages() -> str:
    """What each package offers: a row per package."""
    owned: dict[str, dict[str, list[str]]] = {}
    for component in registry().components():
        package = registry().provenance(component)["distribution"]
        owned.setdefault(package, {}).setdefault(component.kind, []).append(component.name)
    rows = []
    for package, kinds in sorted(owned.items()):
        lists = [
            f"{kind.replace('_', ' ')} {', '.join(f'`{name}`' for name in sorted(kinds[kind]))}"
            for kind in KINDS
            if kind in kinds
        ]
        rows.append((f"`{package}`", "; ".join(lists)))
    return table(("package", "components"), rows)


def components_of(distribution: str) -> str:
    """The components of one package, for its README."""
    found = [
        c
        for c in registry().components()
        if registry().provenance(c)["distribution"] == distribution
    ]
    rows = [(f"`{c.name}`", c.kind.replace("_", " "), c.summary) for c in found]
    return table(("name", "kind", "what"), rows)


# -- the conformance kit -------------------------------------------------------------------------


def checks_of(kind: str) -> str:
    """The checks of one kind, less those that every module has."""
    from corekit.testing.spec import SUITE as spec

    shared = {check.name for check in spec} | {check.name for check in _shared_checks()}
    own = [check for check in _suite(kind) if check.name not in shared]
    return _checks(own) + _also(kind)


def _also(kind: str) -> str:
    every = {check.name for check in _suite(kind)}
    more = any(check.name in every for check in _shared_checks())
    also = " and [the checks of every module](../conformance.md#modules)" if more else ""
    return f"\nBeside these, [the checks of its spec](../conformance.md#specs){also}.\n"


def _shared_checks() -> list[Any]:
    from corekit.testing.module import module_checks
    from corekit.testing.suites.bijector import EXERCISE

    return module_checks(EXERCISE)


def _spec_checks() -> list[Any]:
    from corekit.testing.spec import SUITE

    return list(SUITE)


def _suite(kind: str) -> list[Any]:
    from corekit.testing.component import suite_of

    return list(suite_of(kind))


def _checks(checks: Iterable[Any]) -> str:
    rows = [(f"`{c.name}`{' (slow)' if c.slow else ''}", c.promise) for c in checks]
    return table(("check", "what holds if it passes"), rows)


def planted_bugs() -> str:
    """The table of bugs that were planted, and the checks that find them."""
    sys.path.insert(0, str(ROOT / "tests" / "toys"))
    teeth = import_module("teeth").every_tooth()
    rows = [(tooth.kind.replace("_", " "), tooth.bug, f"`{tooth.caught_by}`") for tooth in teeth]
    return f"{len(rows)} bugs.\n\n" + table(("kind", "planted bug", "found by"), rows)


def file(path: str) -> str:
    """A file of the repository as a block; the first line names it, relative to its package."""
    text, language = (ROOT / path).read_text(encoding="utf-8"), LANGUAGES[Path(path).suffix]
    inside = "/".join(Path(path).parts[2:])
    return f"```{language}\n# {inside}\n{text}```\n"


LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}

# -- pages --------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "components": components,
    "packages": packages,
    "checks of modules": lambda: _checks(_shared_checks()),
    "checks of specs": lambda: _checks(_spec_checks()),
    "planted bugs": planted_bugs,
    **{f"checks of {kind}": (lambda kind=kind: checks_of(kind)) for kind in SUITES},
    "fields of the spec": lambda: fields_table(RunSpec),
    "fields of train": lambda: fields_table(TrainSpec),
    "fields of a stage": lambda: fields_table(StageSpec),
    **{
        f"options of {name}": (lambda name=name: options_of(name))
        for command in COMMANDS
        for name in (command, *_actions_of(command))
    },
    **{
        f"components of {plugin.distribution}": (
            lambda distribution=plugin.distribution: components_of(distribution)
        )
        for plugin in registry().plugins
    },
}


def generated(text: str) -> str:
    """A page with its generated parts made anew."""

    def part(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        if name.startswith("file "):
            return f"{begin}{file(name.removeprefix('file ')).strip()}\n{end}"
        if name not in PARTS:
            raise SystemExit(f"no generated part is called '{name}'. Known: {', '.join(PARTS)}.")
        return f"{begin}{PARTS[name]().strip()}\n{end}"

    return MARK.sub(part, text)


def stale() -> list[Path]:
    """Pages whose generated parts differ from what would be written."""
    texts = {page: page.read_text(encoding="utf-8") for page in PAGES}
    return [page for page, text in texts.items() if generated(text) != text]


def main() -> int:
    """Write the pages, or check them."""
    pages = stale()
    if "--check" in sys.argv[1:]:
        for page in pages:
            print(f"{page.relative_to(ROOT)} is stale: run `make docs`")
        return 1 if pages else 0
    for page in pages:
        page.write_text(generated(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
