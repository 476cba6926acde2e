"""`corekit validate`: check a spec; torch is not needed, unless `--build` asks for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from corekit.cli.spec_file import add_spec_arguments
from corekit.cli.table import print_json, print_table
from corekit.errors import SpecError

if TYPE_CHECKING:
    from corekit.spec import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_spec_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--build",
        action="store_true",
        help="also build the model, without weights, and print its parts",
    )


def run(args: argparse.Namespace) -> int:
    """Validate; raises SpecError, or with `--json` prints the problems and returns the code."""
    from corekit.spec import check_spec, load_spec

    try:
        loaded = load_spec(args.spec, args.sets)
        check_spec(loaded)
    except SpecError as error:
        if not args.json:
            raise
        problems = [problem.to_dict() for problem in error.problems]
        print_json({"file": args.spec, "valid": False, "problems": problems})
        return error.exit_code
    parts = _parts(loaded.spec) if args.build else []
    if args.json:
        facts: dict[str, Any] = {"file": args.spec, "valid": True, "problems": []}
        print_json({**facts, "parts": parts} if args.build else facts)
        return 0
    if parts:
        rows = [(part["name"], part["class"], f"{part['parameters']:,}") for part in parts]
        print_table(("PART", "CLASS", "PARAMETERS"), rows)
    print(f"{args.spec}: valid")
    return 0


def _parts(spec: RunSpec) -> list[dict[str, Any]]:
    """Build on the meta device, where weights take no memory; the upper parts of the model."""
    import torch

    from corekit.build import build
    from corekit.train.stages import check_stages

    check_stages(spec)
    with torch.device("meta"):
        model = build(spec)
    return [
        {
            "name": name or "model",
            "class": type(part).__name__,
            "parameters": sum(parameter.numel() for parameter in part.parameters()),
        }
        for name, part in model.named_modules()
        if name.count(".") < 2
    ]
