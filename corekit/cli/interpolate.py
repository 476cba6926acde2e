"""`corekit interpolate`: walk between pairs of held-out examples in latent space."""

from __future__ import annotations

import argparse
from typing import Any

from corekit.cli.model_options import (
    add_model_arguments,
    loaded_model,
    output_path,
    sampling_options,
    sharing,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--num", type=int, default=5, metavar="N", help="how many pairs (default 5)"
    )
    parser.add_argument(
        "--between",
        type=int,
        default=6,
        metavar="N",
        help="points on each line, both ends among them (default 6)",
    )
    parser.add_argument("--split", default="val", help="where the data come from (default val)")
    parser.add_argument(
        "--along",
        choices=("latent", "base", "sphere"),
        help="of an encoder's model: a line of its latents (default), a line of the noise that its "
        "flow makes them of, or an arc of that noise",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where, without an ending; in the run if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Interpolate; writes a picture with a line per row, and the array."""
    from corekit.build import build_dataset
    from corekit.errors import UsageError
    from corekit.train.interpolation import interpolate_and_save

    if args.num < 1 or args.between < 2:
        raise UsageError(
            f"--num must be at least 1 and --between at least 2, got {args.num} and {args.between}."
        )
    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        target = output_path(args, folder, f"{folder.name}-interpolations-seed{args.seed}")
        options = sampling_options(args, model) | {"share": share}
        if args.along is not None:
            options["along"] = _along(args.along, model)
        path = interpolate_and_save(
            model,
            build_dataset(spec),
            target,
            args.num,
            args.between,
            args.seed,
            args.split,
            **options,
        )
    if share.main:
        print(f"up to {args.num} lines between examples of '{args.split}' from {folder}")
        print(path)
    return 0


def _along(along: str, model: Any) -> str:
    """Which line, if the model has several."""
    from corekit.errors import UsageError
    from corekit.latent.model import LatentModel

    if not isinstance(model, LatentModel):
        raise UsageError(
            f"--along: the model must be a latent model, got {type(model).__name__}. Leave it out: "
            "there is one line only."
        )
    return along
