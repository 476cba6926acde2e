"""`corekit sample`: draw samples from a trained model."""

from __future__ import annotations

import argparse
import math
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
        "--labels",
        type=_labels,
        metavar="K[,K…]",
        help="classes of the samples, in turn (-1: none); those of examples if not given",
    )
    parser.add_argument(
        "--images",
        metavar="PATH",
        help="what they are made from, in turn: an image, a folder, .npy or .npz (low_res)",
    )
    parser.add_argument(
        "--npz",
        action="store_true",
        help="also write .npz: arr_0, uint8 (N, H, W, C), and the labels as arr_1",
    )
    parser.add_argument("--ply", action="store_true", help="also write a folder of .ply clouds")
    parser.add_argument(
        "--h5", action="store_true", help="also write .h5, which pointcloud.hdf5 reads"
    )
    parser.add_argument(
        "--film", action="store_true", help="also write .gif: the first 8 on their way from noise"
    )
    parser.add_argument(
        "--split", default="val", help="examples whose conditions samples have (default val)"
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
    more = [name for name in ("npz", "ply", "h5", "film") if getattr(args, name)]
    if more and len(several) > 1:
        raise UsageError(f"--{more[0]}: must have one temperature, got {len(several)}.")
    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        num = args.num or worth_drawing(model.data.event_shape, len(several))
        options = sampling_options(args, model) | {"share": share}
        options["conditions"] = _conditions(args, model, spec)
        if args.truncate is not None:
            options["truncate"] = args.truncate
        target = output_path(args, folder, f"{folder.name}-seed{args.seed}")
        if len(several) == 1:
            options |= {"temperature": several[0], "npz": args.npz}
            path = sample_and_save(model, target, num, args.seed, **options)
            written = _more(args, model, target, min(num, 8), options) if share.main else []
        else:
            path = temperature_grid(model, target, num, args.seed, several, **options)
            written = []
    if share.main:
        rows = "" if len(several) == 1 else f" at each of {len(several)} temperatures"
        print(f"{num} samples{rows} with seed {args.seed} from {folder}")
        print(with_ending(target, ".npy"))
        if args.npz:
            print(with_ending(target, ".npz"))
        for file in (*written, path):
            print(file)
    return 0


def _more(
    args: argparse.Namespace, model: Any, target: Any, filmed: int, options: dict[str, Any]
) -> list[Any]:
    """Write clouds in the files of other programs, and a film; where they are."""
    import numpy as np
    import torch

    from corekit.data.cloud_files import save_hdf5, save_ply
    from corekit.report.save import with_ending
    from corekit.train.filming import film_and_save

    samples, written = torch.from_numpy(np.load(with_ending(target, ".npy"))), []
    if args.ply:
        written.append(save_ply(samples, target))
    if args.h5:
        written.append(save_hdf5(samples, with_ending(target, ".h5")))
    if args.film:
        given = {k: v for k, v in options.items() if k not in ("npz", "share")}
        file = with_ending(target, ".gif")
        written.append(film_and_save(model, file, filmed, args.seed, **given))
    return written


def _conditions(args: argparse.Namespace, model: Any, spec: Any) -> Any:
    """What the samples are conditioned on, if the data have conditions."""
    from pathlib import Path

    from corekit.build import build_dataset
    from corekit.train.conditions import of_examples, of_images, of_labels

    found, named = None, {"labels": args.labels, "image": args.images}
    if set(model.data.condition_shapes) - {name for name, value in named.items() if value}:
        found = of_examples(model, build_dataset(spec), args.seed, args.split)
    if args.labels is not None:
        found = of_labels(model, args.labels, found)
    return found if args.images is None else of_images(model, Path(args.images), found)


def _labels(text: str) -> list[int]:
    """``3``, or several with commas between them."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers with commas between them (0,1,2), got '{text}'"
        ) from None


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
