"""`corekit train`: train a model from a spec, or go on from a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from corekit.cli.spec_file import add_spec_arguments

if TYPE_CHECKING:
    from corekit.spec import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_spec_arguments(parser)
    parser.add_argument(
        "--run", metavar="NAME", help="folder runs/NAME; the spec's name unless given"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on from the run's latest checkpoint"
    )
    parser.add_argument("--quiet", action="store_true", help="print the last line only")


def run(args: argparse.Namespace) -> int:
    """Train; the run folder is printed first and last."""
    from corekit.spec import check_spec, load_spec

    loaded = load_spec(args.spec, args.sets)
    check_spec(loaded)  # every mistake is told before torch is imported
    from corekit.train.run_folder import default_run

    resumable = Path("runs") / Path(args.spec).stem
    if args.run:
        folder = run_path(args.run)
    else:
        folder = resumable if args.resume else default_run(args.spec)
    return fit(loaded.spec, folder, resume=args.resume, quiet=args.quiet)


def run_path(name: str) -> Path:
    """``runs/NAME`` for a bare name; a path as it is."""
    return Path(name) if "/" in name or Path(name).is_absolute() else Path("runs") / name


def fit(spec: RunSpec, folder: Path, *, resume: bool = False, quiet: bool = False) -> int:
    """Train a spec into a folder; returns the exit code."""
    from corekit.train.stopping import EXIT_CODES
    from corekit.train.trainer import Trainer

    trainer = Trainer(spec, folder, resume=resume, quiet=quiet)
    if not quiet:
        print(f"{'resumed at step ' + str(trainer.step) if resume else 'training'} in {folder}")
    reason = trainer.fit()
    saved = trainer.run.checkpoint(trainer.saved_step)
    if reason is None:
        print(f"done: step {trainer.step} of {spec.train.steps}, {saved}")
        return 0
    print(
        f"{reason}: saved step {trainer.step} of {spec.train.steps} in {saved}. "
        "Go on with --resume."
    )
    return EXIT_CODES[reason]
