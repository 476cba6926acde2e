"""`corekit resolve`: a spec with every default filled in."""

from __future__ import annotations

import argparse

from corekit.cli.spec_file import add_spec_arguments
from corekit.cli.table import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_spec_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON instead of YAML")


def run(args: argparse.Namespace) -> int:
    """Print the spec."""
    from corekit.spec import dump_yaml, load_spec

    spec = load_spec(args.spec, args.sets).spec
    if args.json:
        print_json(spec.model_dump(mode="json"))
    else:
        print(dump_yaml(spec), end="")
    return 0
