"""`corekit reconstruct`: encode and decode held-out data with a trained model."""

from __future__ import annotations

import argparse

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
        "--num", type=int, metavar="N", help="how many (default 8; 2000 points in the plane)"
    )
    parser.add_argument("--split", default="val", help="where the data come from (default val)")
    parser.add_argument(
        "--out", metavar="FILE", help="where, without an ending; in the run if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Reconstruct; writes data over reconstructions as a picture, and both arrays."""
    from corekit.build import build_dataset
    from corekit.errors import UsageError
    from corekit.report.save import worth_drawing
    from corekit.train.reconstruction import reconstruct_and_save

    if args.num is not None and args.num < 1:
        raise UsageError(f"--num: must be at least 1, got {args.num}.")
    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        num = args.num or worth_drawing(model.data.event_shape)
        target = output_path(args, folder, f"{folder.name}-reconstructions-seed{args.seed}")
        options = sampling_options(args, model) | {"share": share}
        path = reconstruct_and_save(
            model, build_dataset(spec), target, num, args.seed, args.split, **options
        )
    if share.main:
        print(f"up to {num} of '{args.split}' and their reconstructions from {folder}")
        print(path)
    return 0
