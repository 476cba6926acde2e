"""`corekit sample`: draw samples from a trained model."""

from __future__ import annotations

import argparse
import math

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
        "--temperature",
        type=_temperatures,
        default=[1.0],
        metavar="T[,T…]",
        help="scales the sd of the prior (default 1); of several, each has a row of the same noise",
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
    from corekit.report.save import with_ending, worth_drawing
    from corekit.train.sampling import sample_and_save, temperature_grid

    if args.num is not None and args.num < 1:
        raise UsageError(f"--num: must be at least 1, got {args.num}.")
    several = args.temperature
    with sharing(args) as share:
        model, _, folder = loaded_model(args)
        num = args.num or worth_drawing(model.data.event_shape, len(several))
        options = sampling_options(args, model) | {"share": share}
        if args.truncate is not None:
            options["truncate"] = args.truncate
        target = output_path(args, folder, f"{folder.name}-seed{args.seed}")
        if len(several) == 1:
            options["temperature"] = several[0]
            path = sample_and_save(model, target, num, args.seed, **options)
        else:
            path = temperature_grid(model, target, num, args.seed, several, **options)
    if share.main:
        rows = "" if len(several) == 1 else f" at each of {len(several)} temperatures"
        print(f"{num} samples{rows} with seed {args.seed} from {folder}")
        print(with_ending(target, ".npy"))
        print(path)
    return 0


def _temperatures(text: str) -> list[float]:
    """``0.7``, or several with commas between them."""
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        numbers = []
    fit = all(0 <= number < math.inf for number in numbers)
    if not numbers or not fit or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(
            f"must be a number of 0 or more, or different ones (0,0.5,1), got '{text}'"
        )
    return numbers
