"""The arguments that commands which use a trained model have in common."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corekit.errors import UsageError

if TYPE_CHECKING:
    from corekit.train.processes import Share


WRITTEN = (".png", ".npy", ".json")
"""The endings of what is written; one that is given is left out of the name."""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Define RUN, `--device`, which weights, and what changes how samples are made."""
    parser.add_argument("run_path", metavar="RUN", help="a run folder or one of its checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of all noise (default 0)")
    parser.add_argument(
        "--points", type=int, metavar="N", help="points of a cloud, if not as trained"
    )
    parser.add_argument("--sampler", metavar="NAME", help="another sampler, e.g. ddim")
    parser.add_argument("--steps", type=int, metavar="N", help="sampling steps, if not all")
    parser.add_argument(
        "--guidance", type=float, metavar="W", help="of samples by their condition: 0 none"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps (default auto)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--ema", type=float, metavar="RATE", help="the average of this rate, if not the first"
    )
    which.add_argument(
        "--no-ema", action="store_true", help="use the last weights, not the average"
    )


@contextmanager
def sharing(args: argparse.Namespace) -> Iterator[Share]:
    """How work is shared: over the processes of a launcher, until a signal asks to stop."""
    from corekit.train.device import launched
    from corekit.train.processes import Share
    from corekit.train.stopping import Stop

    processes, device = launched(args.device)
    args.device, stop = str(device), Stop()
    with stop.listening():
        yield Share(processes, stop)


def loaded_model(args: argparse.Namespace) -> tuple[Any, Any, Path]:
    """The model, its spec and its checkpoint folder."""
    from corekit.checkpoint import load_model
    from corekit.train.device import pick_device

    ema = not args.no_ema if args.ema is None else args.ema
    return load_model(args.run_path, device=pick_device(args.device), ema=ema)


def sampling_options(args: argparse.Namespace, model: Any) -> dict[str, Any]:
    """What `sample` and `decode` of this model are told."""
    options: dict[str, Any] = {}
    if args.points is not None:
        options["shape"] = (args.points, *model.data.event_shape[1:])
    if args.sampler is not None or args.steps is not None:
        options["sampler"] = _sampler(args.sampler, args.steps, model)
    if args.guidance is not None:
        if not any(hasattr(part, "guidance") for part in model.modules()):
            raise UsageError("--guidance: the model must be a diffusion, got another one.")
        options["guidance"] = args.guidance
    return options


def _sampler(name: str | None, steps: int | None, model: Any) -> Any:
    """A sampler by name, or the model's own with other steps."""
    from dataclasses import replace

    from corekit.build import component
    from corekit.spec import spec_class
    from corekit.train.sampling import made_by_steps

    if name is not None:
        return component("sampler", spec_class("sampler", name).model_validate({"steps": steps}))
    part = made_by_steps(model)
    if part is None:
        raise UsageError(
            "--steps: the model must have a sampler, got one that samples in one pass."
        )
    return replace(part.sampler, steps=steps)


def output_path(args: argparse.Namespace, folder: Path, name: str) -> Path:
    """Where results go: ``--out``, or the run's ``samples`` folder."""
    if args.out:
        out = Path(args.out)
        # Any other ending belongs to the name: v1.5 is no file of the sort "5".
        return out.with_suffix("") if out.suffix in WRITTEN else out
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    return run / "samples" / name
