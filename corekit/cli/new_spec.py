"""`corekit new-spec`: a commented spec of what is installed, to start from."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from corekit.cli.spec_file import add_set_argument
from corekit.errors import SpecError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "--model", default="flow", metavar="NAME", help="flow, diffusion, latent, … (default flow)"
    )
    parser.add_argument("--data", metavar="NAME", help="the data set; one that fits unless given")
    add_set_argument(parser, "a value that the spec must have, e.g. --set data.density=rings")
    parser.add_argument("--out", metavar="FILE", help="write it there instead of printing it")


def run(args: argparse.Namespace) -> int:
    """Print or write the spec; nothing is overwritten."""
    from corekit.spec import check_spec, run_spec
    from corekit.spec.commented import commented
    from corekit.spec.start import start

    path = Path(args.out or "spec.yaml")
    if args.out is not None and path.exists():
        raise UsageError(f"--out: the file must be a new one, got {path}. Choose another name.")
    spec = start(args.model, args.data, args.sets)
    text = commented(spec, path.name)
    try:
        check_spec(run_spec(spec))
    except SpecError as error:  # a data file that is still to be named
        for problem in error.problems:
            print(f"to do: {problem}", file=sys.stderr)
    if args.out is None:
        print(text, end="")
        return 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        message = f"--out: the file must be writable, got {path}: {error.strerror}."
        raise UsageError(message) from None
    print(f"Train it: corekit train {path}")
    print(path)
    return 0
