"""`corekit manipulate`: change attributes of examples in latent space."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from corekit.cli.model_options import (
    add_model_arguments,
    loaded_model,
    output_path,
    sampling_options,
    sharing,
)

_ALPHAS = (-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--attribute",
        action="append",
        metavar="NAME[=W]",
        help="which to change, W times (default 1); may be repeated: all at once",
    )
    parser.add_argument(
        "--attributes",
        action="append",
        metavar="SOURCE",
        help="labels, vector, an array of the data file, or FILE:ARRAY; may be repeated",
    )
    parser.add_argument("--names", metavar="A,B,…", help="what the attributes are called")
    parser.add_argument(
        "--fit", default="train", metavar="SPLIT", help="what directions are found on (train)"
    )
    parser.add_argument("--directions", metavar="FILE", help="use those that --save wrote")
    parser.add_argument("--save", metavar="FILE", help="write the directions, as .safetensors")
    parser.add_argument(
        "--score", metavar="SPLIT", help="how well projections rank the attributes of this split"
    )
    parser.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        metavar="A",
        help="strengths, one or more (default -1.5 … 1.5)",
    )
    parser.add_argument(
        "--absolute", action="store_true", help="strengths are projections to arrive at"
    )
    parser.add_argument(
        "--num", type=int, default=5, metavar="N", help="how many examples (default 5)"
    )
    parser.add_argument("--rows", metavar="I,J,…", help="which examples, instead of --num")
    parser.add_argument("--split", default="val", help="where the examples come from (default val)")
    parser.add_argument(
        "--out", metavar="FILE", help="where, without an ending; in the run if not given"
    )


def run(args: argparse.Namespace) -> int:
    """Find directions, walk along them; writes a picture, the array and the projections."""
    from corekit.train.manipulation import chosen_rows, walk_and_save

    rows, weights = _numbers(args.rows), _weights(args.attribute or ())
    _check(args)
    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        dataset = _plain_dataset(spec)
        directions, scored = _directions(args, model, dataset, weights, share)
        path = None if args.save is None else Path(args.save)
        if weights:
            alphas = args.alpha or list(_ALPHAS)
            target = output_path(args, folder, f"{folder.name}-manipulated-seed{args.seed}")
            path = walk_and_save(
                model,
                dataset,
                target,
                args.split,
                chosen_rows(dataset, args.split, rows, args.num),
                directions,
                weights,
                alphas,
                args.seed,
                absolute=args.absolute,
                facts={"scores": scored} if scored else {},
                share=share,
                **sampling_options(args, model),
            )
    if share.main:
        _tell(directions, scored, list(weights or directions.vectors))
        if path is not None:
            print(path)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Refuse numbers that make no walk, and a command that would do nothing."""
    from corekit.errors import UsageError

    if args.num < 1:
        raise UsageError(f"--num: must be at least 1, got {args.num}.")
    if not all(math.isfinite(alpha) for alpha in args.alpha or ()):
        raise UsageError(f"--alpha: strengths must be finite, got {args.alpha}.")
    if args.directions is not None and args.save is not None:
        raise UsageError("--save: must not be given with --directions, whose file is there.")
    if not (args.attribute or args.save or args.score):
        raise UsageError(
            "manipulate: an --attribute to change must be named, got none. Or ask for directions "
            "(--save FILE) or how good they are (--score SPLIT): of all attributes."
        )


def _directions(
    args: argparse.Namespace, model: Any, dataset: Any, weights: dict[str, float], share: Any
) -> tuple[Any, dict[str, Any]]:
    """The directions, and their scores where asked for."""
    from corekit.train.attributes import attributes_of, known
    from corekit.train.directions import (
        directions_of,
        latents,
        load_directions,
        save_directions,
        scores,
    )

    sources = args.attributes or []
    names = None if args.names is None else [name.strip() for name in args.names.split(",")]
    if args.directions is not None:
        size = latents(model, dataset, args.split, [0], args.seed)[0].numel()
        found = load_directions(Path(args.directions), size)
    else:
        attributes = attributes_of(dataset, args.fit, sources, names)
        # Those that nobody asks for may be constant.
        wanted = attributes.only(list(weights)) if weights else attributes
        found = directions_of(model, dataset, args.fit, wanted, args.seed, share=share)
    for name in weights:
        known(name, found.vectors)
    if args.save is not None and share.main:
        save_directions(found, Path(args.save))
    if args.score is None:
        return found, {}
    held_out = attributes_of(dataset, args.score, sources, names)
    chosen = held_out.only(list(weights or found.vectors))
    return found, scores(model, dataset, args.score, found, chosen, args.seed, share=share)


def _plain_dataset(spec: Any) -> Any:
    """The data set of the run, of which nothing is mirrored: left and right are attributes too."""
    from corekit.build import build_dataset

    if getattr(spec.data, "flip", False):
        spec = spec.model_copy(update={"data": spec.data.model_copy(update={"flip": False})})
    return build_dataset(spec)


def _weights(words: Iterable[str]) -> dict[str, float]:
    """``NAME`` or ``NAME=WEIGHT``, as weights by name."""
    from corekit.errors import UsageError

    weights: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        name = name if equals else word
        try:
            weight = float(number) if equals else 1.0
        except ValueError:
            weight = math.nan
        if not math.isfinite(weight) or name in weights:
            raise UsageError(
                f"--attribute: must be NAME or NAME=WEIGHT, each name once, got '{word}'."
            )
        weights[name] = weight
    return weights


def _numbers(text: str | None) -> list[int] | None:
    from corekit.errors import UsageError

    try:
        return None if text is None else [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UsageError(f"--rows: must be whole numbers, 0,5,9, got '{text}'.") from error


def _tell(directions: Any, scored: dict[str, Any], names: list[str]) -> None:
    """A line for each direction that was asked for; for all of them if none was."""
    for name in names:
        vector, facts = directions.vectors[name], directions.facts[name]
        if facts["binary"]:
            what = f"{facts['positive']} of {facts['examples']} examples of '{facts['split']}'"
        else:
            what = f"by the values of {facts['examples']} examples of '{facts['split']}'"
        figures = scored.get(name, {})
        told = [f"{k.replace('_', ' ')} {_figure(v)}" for k, v in figures.items()]
        score = f"; held out: {', '.join(told)}" if told else ""
        print(f"{name}: {what}, length {vector.norm():.3g}{score}")


def _figure(value: float | int | None) -> str:
    if value is None:
        return "not known"
    return str(value) if isinstance(value, int) else f"{value:.3f}"
