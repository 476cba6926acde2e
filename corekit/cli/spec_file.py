"""The arguments that commands which read or write a spec have in common."""

from __future__ import annotations

import argparse


def add_spec_arguments(parser: argparse.ArgumentParser) -> None:
    """Define SPEC and `--set`; `load_spec(args.spec, args.sets)` uses them."""
    parser.add_argument("spec", metavar="SPEC", help="the YAML file")
    add_set_argument(parser, "overrule a value of the file, e.g. --set train.steps=100")


def add_set_argument(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Define `--set`, a list in `args.sets`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="PATH=VALUE",
        help=f"{meaning}; may be repeated",
    )
