"""`corekit plugins`: what is installed, and what is wrong with it."""

from __future__ import annotations

import argparse
import traceback
from dataclasses import asdict
from typing import Any

from corekit.cli.table import print_json, print_table
from corekit.registry import Plugin, Problem, Registry, registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--problems", action="store_true", help="print the problems only, with tracebacks"
    )
    parser.add_argument(
        "--times", action="store_true", help="also print the time to load each, in milliseconds"
    )


def run(args: argparse.Namespace) -> int:
    """List plugins and problems. The exit code is 0 whatever is found."""
    installed = registry()
    if args.json:
        print_json(_facts(installed, plugins=not args.problems))
        return 0
    if not args.problems:
        _print_plugins(installed, times=args.times)
    for problem in installed.problems:
        print(f"problem: {problem}")
        if args.problems:
            _print_traceback(problem)
    if args.problems and not installed.problems:
        print("no problems")
    return 0


def _print_plugins(installed: Registry, *, times: bool) -> None:
    if not installed.plugins:
        print("no plugins are installed; core's own components: corekit components")
        return
    header = ["NAME", "DISTRIBUTION", "VERSION", "STATUS", "COMPONENTS"]
    rows = [
        [plugin.name, plugin.distribution, plugin.version, plugin.status, str(count)]
        for plugin, count in _counted(installed)
    ]
    if times:
        header.append("MS")
        for row, plugin in zip(rows, installed.plugins, strict=True):
            row.append("-" if plugin.load_ms is None else f"{plugin.load_ms:.1f}")
    print_table(header, rows)


def _counted(installed: Registry) -> list[tuple[Plugin, int]]:
    """Each plugin with the number of its components that can be used."""
    owners = [
        installed.owners(component.kind, component.name)[0].distribution
        for component in installed.components()
    ]
    return [(plugin, owners.count(plugin.distribution)) for plugin in installed.plugins]


def _print_traceback(problem: Problem) -> None:
    lines = traceback.format_exception(problem.exception)
    print("".join(f"    {line}\n" for line in "".join(lines).splitlines()), end="")


def _facts(installed: Registry, *, plugins: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if plugins:
        facts["plugins"] = [
            {**asdict(plugin), "components": count} for plugin, count in _counted(installed)
        ]
    facts["problems"] = [
        {
            "plugin": problem.plugin,
            "distribution": problem.distribution,
            "version": problem.version,
            "stage": problem.stage,
            "fatal": problem.fatal,
            "message": str(problem),
        }
        for problem in installed.problems
    ]
    return facts
