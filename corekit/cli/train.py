"""`corekit train`: train a model from a spec, or go on from a checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from corekit.cli.spec_file import add_spec_arguments
from corekit.errors import DivergedError, UsageError

if TYPE_CHECKING:
    from corekit.spec import RunSpec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_spec_arguments(parser)
    parser.add_argument(
        "--run", metavar="NAME", help="folder runs/NAME; the spec's name unless given"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const=True,
        default=False,
        metavar="PATH",
        help="go on from the run's latest checkpoint, or from this run or checkpoint",
    )
    parser.add_argument(
        "--from",
        dest="start",
        metavar="PATH",
        help="begin a new run with the weights of a run or a checkpoint",
    )
    parser.add_argument(
        "--what-fits", action="store_true", help="with --from: leave weights that do not fit"
    )
    parser.add_argument(
        "--replay",
        metavar="FILE",
        help="take the step of a diverged.json again and name what is not finite; writes nothing",
    )
    parser.add_argument(
        "--profile", metavar="steps=A:B", help="write a trace of steps A to B into the run folder"
    )
    parser.add_argument("--quiet", action="store_true", help="print the last line only")


def run(args: argparse.Namespace) -> int:
    """Train; the run folder is printed first and last."""
    from corekit.spec import check_spec, load_spec

    loaded = load_spec(args.spec, args.sets)
    check_spec(loaded)  # every mistake is told before torch is imported
    if args.replay:
        return _replayed(loaded.spec, args.replay)
    if args.resume and args.start:
        raise UsageError("--from: must begin a new run, got --resume as well. Give one of them.")
    if args.what_fits and not args.start:
        raise UsageError("--what-fits: must come with --from PATH, got no --from.")
    return fit(
        loaded.spec,
        _folder(args),
        resume=args.resume,
        start=args.start,
        what_fits=args.what_fits,
        quiet=args.quiet,
        profile=args.profile,
    )


def _folder(args: argparse.Namespace) -> Path:
    """The run folder: as named, or that of the checkpoint to continue, or a new one."""
    from corekit.train.run_folder import default_run, run_of

    if args.run:
        return run_path(args.run)
    if isinstance(args.resume, str):
        return run_of(args.resume)
    return Path("runs") / Path(args.spec).stem if args.resume else default_run(args.spec)


def run_path(name: str) -> Path:
    """``runs/NAME`` for a bare name; a path as it is."""
    return Path(name) if "/" in name or Path(name).is_absolute() else Path("runs") / name


def fit(
    spec: RunSpec,
    folder: Path,
    *,
    resume: bool | str = False,
    start: str | None = None,
    what_fits: bool = False,
    quiet: bool = False,
    profile: str | None = None,
) -> int:
    """Train a spec into a folder; returns the exit code."""
    from corekit.train.profile import parse_profile
    from corekit.train.stopping import EXIT_CODES
    from corekit.train.trainer import Trainer

    if spec.stages:
        return _fit_stages(spec, folder, resume, start, what_fits, quiet, profile)

    watching = [parse_profile(profile)] if profile else []
    trainer = Trainer(
        spec,
        folder,
        resume=resume,
        start=start,
        what_fits=what_fits,
        quiet=quiet,
        callbacks=watching,
    )
    tell = print if trainer.processes.main else _nothing
    folder = trainer.run.path
    if not quiet:
        tell(f"{'resumed at step ' + str(trainer.step) if resume else 'training'} in {folder}")
    reason = trainer.fit()
    saved = trainer.run.checkpoint(trainer.saved_step)
    if reason is None:
        tell(f"done: step {trainer.step} of {spec.train.steps}, {saved}")
        return 0
    tell(
        f"{reason}: saved step {trainer.step} of {spec.train.steps} in {saved}. "
        "Go on with --resume."
    )
    return EXIT_CODES[reason]


def _fit_stages(
    spec: RunSpec,
    folder: Path,
    resume: bool | str,
    start: str | None,
    what_fits: bool,
    quiet: bool,
    profile: str | None,
) -> int:
    """Train the stages of a spec into a folder; returns the exit code."""
    from corekit.checkpoint.folder import STAGES
    from corekit.train.profile import parse_profile
    from corekit.train.stages import train_stages
    from corekit.train.stopping import EXIT_CODES

    asked = Path(resume).resolve() if isinstance(resume, str) else None
    if asked is not None and (asked != folder.resolve() or asked.parent.name == STAGES):
        raise UsageError(
            f"--resume: with stages it must be the folder of the whole run, got {resume}. For one "
            "stage, give its own spec.yaml in the place of the spec."
        )
    made = train_stages(
        spec,
        folder,
        resume=bool(resume),
        start=start,
        what_fits=what_fits,
        quiet=quiet,
        callbacks=lambda: [parse_profile(profile)] if profile else [],
    )
    tell = print if made.main else _nothing
    at = f"stage {made.stage} of {len(spec.stages)}, step {made.step} of {made.steps}"
    if made.reason is None:
        tell(f"done: {at}, {made.checkpoint}")
        return 0
    tell(f"{made.reason}: saved {at} in {made.checkpoint}. Go on with --resume.")
    return EXIT_CODES[made.reason]


def _replayed(spec: RunSpec, file: str) -> int:
    """Take one step again; 6 if it is not finite again."""
    import json

    from corekit.spec import load_spec
    from corekit.train.diverged import replay

    if spec.stages:  # the file is in the folder of one, beside its spec
        spec = load_spec(Path(file).parent / "spec.yaml").spec
    found = replay(spec, file)
    step = json.loads(Path(file).read_text(encoding="utf-8"))["step"]
    print(f"step {step}: " + (f"{found} is not finite" if found else "everything is finite"))
    return DivergedError.exit_code if found else 0


def _nothing(text: str) -> None:
    """Of several processes, the main one tells."""
