"""`corekit reconstruct`: encode and decode held-out data with a trained model."""

from __future__ import annotations

import argparse

from corekit.cli.model_options import (
    add_model_arguments,
    loaded_model,
    output_path,
    sampling_options,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_model_arguments(parser)
    parser.add_argument("--num", type=int, default=8, metavar="N", help="how many (default 8)")
    parser.add_argument("--split", default="val", help="where the data come from (default val)")
    parser.add_argument(
        "--out", metavar="FILE", help="where, without an ending; in the run if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Reconstruct; writes data over reconstructions as a picture, and both arrays."""
    from corekit.build import build_dataset
    from corekit.errors import UsageError
    from corekit.train.reconstruction import reconstruct_and_save

    if args.num < 1:
        raise UsageError(f"--num: must be at least 1, got {args.num}.")
    model, spec, folder = loaded_model(args)
    target = output_path(args, folder, f"{folder.name}-reconstructions-seed{args.seed}")
    path = reconstruct_and_save(
        model,
        build_dataset(spec),
        target,
        args.num,
        args.seed,
        args.split,
        **sampling_options(args, model),
    )
    print(
        f"up to {args.num} of '{args.split}' (above) and their reconstructions (below) "
        f"from {folder}"
    )
    print(path)
    return 0
