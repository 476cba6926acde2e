"""`corekit demo`: train a small model on shapes drawn here, and show what it made."""

from __future__ import annotations

import argparse
from pathlib import Path

_POINTS = 1024  # of a sampled cloud: more than in training, which a pointwise decoder allows
_SHOWN = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("--steps", type=int, metavar="N", help="training steps (default 1500)")
    parser.add_argument("--run", metavar="NAME", help="folder runs/NAME; demo unless given")


def run(args: argparse.Namespace) -> int:
    """Train, sample, reconstruct, measure; the picture's path is printed last."""
    from corekit.spec import check_spec, load_spec

    sets = []
    if args.steps is not None:
        half = max(1, args.steps // 2)
        sets = [f"train.steps={args.steps}", f"train.lr_schedule.start={half - 1}"]
        sets += [f"train.lr_schedule.end={max(args.steps, half)}"]
    loaded = load_spec(Path(__file__).with_name("demo.yaml"), sets)
    check_spec(loaded)
    from corekit.cli.train import fit, run_path
    from corekit.train.run_folder import default_run

    folder = run_path(args.run) if args.run else default_run("demo.yaml")
    code = fit(loaded.spec, folder)
    return code or _show(folder)


def _show(folder: Path) -> int:
    from corekit.build import build_dataset
    from corekit.checkpoint import load_model
    from corekit.train.evaluation import evaluate
    from corekit.train.reconstruction import reconstruct_and_save
    from corekit.train.sampling import sample_and_save

    model, spec, _ = load_model(folder)
    figures = {f["name"]: f for f in evaluate(model, spec, split="val")["figures"]}
    chamfer = figures["pointcloud.chamfer/chamfer"]
    shape = (_POINTS, 3)
    copies = reconstruct_and_save(
        model,
        build_dataset(spec),
        folder / "samples" / "reconstructions",
        _SHOWN,
        0,
        "val",
        shape=shape,
    )
    picture = sample_and_save(model, folder / "samples" / "samples", _SHOWN, 0, shape=shape)
    print(
        f"Chamfer distance of a reconstruction to its own shape {chamfer['value']:.4f}, "
        f"to another {chamfer['references']['another shape']:.4f}"
    )
    print(f"reconstructions: {copies}")
    print(f"spec: {folder / 'spec.yaml'}")
    print(picture)
    return 0
