"""`corekit components`: what a spec can name."""

from __future__ import annotations

import argparse
import difflib

from corekit.cli.table import print_json, print_table
from corekit.errors import UsageError
from corekit.registry import KINDS, registry


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("kind", nargs="?", metavar="KIND", help="of this kind only: bijector, …")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """List the components."""
    installed = registry()
    kinds = dict.fromkeys([*KINDS, *(component.kind for component in installed.components())])
    if args.kind is not None and args.kind not in kinds:
        near = difflib.get_close_matches(args.kind, kinds, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"no kind named {args.kind!r}.{hint} Kinds: {', '.join(kinds)}.")
    components = installed.components(args.kind)
    if args.json:
        print_json(
            [
                {**installed.provenance(component), "summary": component.summary}
                for component in components
            ]
        )
    elif components:
        rows = [
            (c.kind, c.name, installed.provenance(c)["distribution"], c.summary)
            for c in sorted(components, key=lambda c: (list(kinds).index(c.kind), c.name))
        ]
        print_table(("KIND", "NAME", "FROM", "SUMMARY"), rows)
    else:
        print(f"no {args.kind} is installed")
    return 0
