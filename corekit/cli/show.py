"""`corekit show`: one component, its fields, their defaults, and an example."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from corekit.cli.table import print_json, print_table
from corekit.registry import Component, registry
from corekit.registry.lookup import explain_missing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "name", metavar="NAME", help="glow.actnorm, or actnorm where only one plugin has it"
    )
    parser.add_argument("--kind", help="of this kind, where two share the name")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Describe every component of that name."""
    described = [_described(component) for component in _named(args.name, args.kind)]
    if args.json:
        print_json(described)
        return 0
    for index, facts in enumerate(described):
        if index:
            print("\n")
        _print(facts)
    return 0


def _named(name: str, kind: str | None) -> list[Component]:
    components = registry().components(kind)
    exact = [component for component in components if component.name == name]
    if exact:
        return exact
    short = [c for c in components if c.name.rpartition(".")[2] == name]
    if len({component.name for component in short}) == 1:
        return short
    raise explain_missing(registry(), kind, name)


def _described(component: Component) -> dict[str, Any]:
    from corekit.spec.describe import example, fields, summary
    from corekit.spec.slots import spec_class

    spec = spec_class(component.kind, component.name)
    return {
        **registry().provenance(component),
        "summary": component.summary,
        "description": summary(spec),
        "fields": [asdict(field) for field in fields(spec)],
        "example": example(spec),
    }


def _print(facts: dict[str, Any]) -> None:
    from corekit.spec.dump import dump_value

    print(f"{facts['name']}   {facts['kind']}, from {facts['distribution']} {facts['version']}")
    print(f"\n{facts['description'] or facts['summary']}\n")
    rows = [
        (
            field["name"],
            field["type"],
            "required" if field["required"] else json.dumps(field["default"], ensure_ascii=False),
            field["description"],
        )
        for field in facts["fields"]
    ]
    if rows:
        print_table(("FIELD", "TYPE", "DEFAULT", "MEANING"), rows)
        print()
    print("Example:")
    print("".join(f"  {line}\n" for line in dump_value(facts["example"]).splitlines()), end="")
