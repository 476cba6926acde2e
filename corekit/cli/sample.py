"""`corekit sample`: draw samples from a trained model."""

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
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="scales the sd of the prior (default 1)"
    )
    parser.add_argument(
        "--truncate", type=float, metavar="A", help="cut the prior's base at A standard deviations"
    )
    parser.add_argument(
        "--out", metavar="FILE", help="where, without an ending; in the run if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Sample; writes a picture, the array, and the seed; the picture's path is printed last."""
    from corekit.errors import UsageError
    from corekit.report.save import worth_drawing
    from corekit.train.sampling import sample_and_save

    if args.num is not None and args.num < 1:
        raise UsageError(f"--num: must be at least 1, got {args.num}.")
    with sharing(args) as share:
        model, _, folder = loaded_model(args)
        num = args.num or worth_drawing(model.data.event_shape)
        options = sampling_options(args, model) | {"temperature": args.temperature}
        if args.truncate is not None:
            options["truncate"] = args.truncate
        target = output_path(args, folder, f"{folder.name}-seed{args.seed}")
        path = sample_and_save(model, target, num, args.seed, share=share, **options)
    if share.main:
        print(f"{num} samples with seed {args.seed} from {folder}")
        print(target.with_suffix(".npy"))
        print(path)
    return 0
