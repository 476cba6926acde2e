"""`corekit schema`: JSON Schema of a spec, so that an editor completes and checks it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from corekit.cli.table import print_json
from corekit.errors import UsageError

MODELINE = "# yaml-language-server: $schema="


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("--out", metavar="FILE", help="write it there instead of printing it")
    parser.add_argument(
        "--kind", help="of one component of this kind (bijector, …) instead of a whole spec"
    )


def run(args: argparse.Namespace) -> int:
    """Print or write the schema; with `--out`, also the line that tells an editor."""
    from corekit.registry import registry
    from corekit.spec.schema import run_schema, slot_schema

    if args.kind is None:
        schema = run_schema()
    elif registry().components(args.kind):
        schema = slot_schema(args.kind)
    else:
        kinds = ", ".join(dict.fromkeys(c.kind for c in registry().components()))
        raise UsageError(
            f"--kind: must be a kind with a component, got {args.kind!r}. There are: {kinds}."
        )
    for complaint in schema.complaints:
        print(f"warning: {complaint}", file=sys.stderr)
    if args.out is None:
        print_json(schema.document)
        return 0
    path = Path(args.out)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(schema.document, indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        message = f"--out: the file must be writable, got {path}: {error.strerror}."
        raise UsageError(message) from None
    print("The first line of a spec beside it, for an editor with a YAML language server:")
    print(f"{MODELINE}{path.name}")
    print(path)
    return 0
