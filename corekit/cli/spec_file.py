"""The arguments that commands which read a spec have in common."""

from __future__ import annotations

import argparse


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """Define SPEC and `--set`; `load_spec(args.spec, args.sets)` uses them."""
    parser.add_argument("spec", metavar="SPEC", help="the YAML file")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="PATH=VALUE",
        help="overrule a value of the file, e.g. --set train.steps=100; may be repeated",
    )
