"""`corekit evaluate`: measure a trained model on held-out data."""

from __future__ import annotations

import argparse
import json
from typing import Any

from corekit.cli.model_options import (
    add_model_arguments,
    loaded_model,
    sampling_options,
    sharing,
)
from corekit.cli.table import print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    add_model_arguments(parser)
    parser.add_argument(
        "--num", type=int, metavar="N", help="samples; as many as held-out data if not given"
    )
    parser.add_argument(
        "--split", default="test", help="held-out data, e.g. val+test (default test)"
    )
    parser.add_argument(
        "--metric",
        action="append",
        metavar="NAME",
        help="a name, or {type: NAME, ...}, instead of the spec's metrics",
    )
    parser.add_argument(
        "--ood", metavar="DATA", help="also tell these from held-out data: a file, a spec or a run"
    )
    parser.add_argument(
        "--ood-batch", type=int, default=1, metavar="M", help="examples judged together (default 1)"
    )
    parser.add_argument(
        "--background", metavar="RUN", help="of --ood: a model of noisy or more general data"
    )
    parser.add_argument(
        "--by-step",
        type=int,
        nargs="?",
        const=0,
        metavar="N",
        help="of a diffusion: every term of the bound, of the first N examples or of all",
    )
    parser.add_argument(
        "--ode",
        type=int,
        nargs="?",
        const=50,
        metavar="STEPS",
        help="of a diffusion: also the likelihood by the probability-flow ODE (default 50 steps)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate; prints every figure with its unit and references, and writes them to a file."""
    from corekit.train.evaluation import evaluate
    from corekit.train.invertibility import invertibility_line

    _check(args)
    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        options = sampling_options(args, model) | {"share": share}
        # First: what is wrong with the other data is told before the long work.
        apart = _out_of_distribution(args, model, spec, share) if args.ood is not None else []
        result = evaluate(
            model,
            spec,
            split=args.split,
            metrics=args.metric,
            num=args.num,
            seed=args.seed,
            **options,
        )
        result["figures"] += apart
        if args.ode is not None:
            result["figures"] += _by_ode(args, model, spec, share)
            result["notes"] = []  # that there is no likelihood
        if args.by_step is not None:
            result["by_step"] = _by_step(args, model, spec, share)
    if not share.main:
        return 0
    result["checkpoint"] = str(folder)
    run_folder = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    path = (
        run_folder / f"evaluation-{folder.name}-{args.split.replace('+', '-')}-seed{args.seed}.json"
    )
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.json:
        print_json(result)
        return 0
    rows = [(f["name"], f"{f['value']:.5g}", f["unit"], _detail(f)) for f in result["figures"]]
    print(f"{folder}, {result['rows']} examples of '{args.split}'")
    print_table(("FIGURE", "VALUE", "UNIT", "REFERENCES AND PROTOCOL"), rows)
    for note in result["notes"]:
        print(note)
    if "by_step" in result:
        print(_decades(result["by_step"]))
    if result["invertibility"] is not None:
        print(invertibility_line(result["invertibility"]))
    print(path)
    return 0


def _check(args: argparse.Namespace) -> None:
    from corekit.errors import UsageError

    if args.ood_batch < 1:
        raise UsageError(f"--ood-batch: must be at least 1, got {args.ood_batch}.")
    if args.by_step is not None and args.by_step < 0:
        raise UsageError(f"--by-step: must be a number of examples, got {args.by_step}.")
    if args.ode is not None and args.ode < 1:
        raise UsageError(f"--ode: must be at least 1 step, got {args.ode}.")
    if args.background is not None and args.ood is None:
        raise UsageError("--background: must be given with --ood, the data to tell apart.")


def _out_of_distribution(
    args: argparse.Namespace, model: Any, spec: Any, share: Any
) -> list[dict[str, Any]]:
    """How well other data are told from held-out ones."""
    from corekit.build import build_dataset
    from corekit.checkpoint import load_model
    from corekit.train.device import pick_device
    from corekit.train.ood import other_data, tell_apart

    background = None
    if args.background is not None:
        background = load_model(args.background, device=pick_device(args.device))[0]
    figures = tell_apart(
        model,
        build_dataset(spec),
        build_dataset(other_data(spec, args.ood)),
        args.split,
        args.seed,
        batch=args.ood_batch,
        background=background,
        share=share,
    )
    for figure in figures:
        figure["protocol"] = {**figure["protocol"], "data": args.ood}
    return figures


def _by_step(args: argparse.Namespace, model: Any, spec: Any, share: Any) -> dict[str, Any]:
    """The bound of each split that is asked for, term by term."""
    from corekit.build import build_dataset
    from corekit.train.by_step import bound_by_step

    dataset, num = build_dataset(spec), args.by_step or None
    return {
        name: bound_by_step(model, dataset, name, args.seed, num=num, share=share)
        for name in args.split.split("+")
    }


def _by_ode(args: argparse.Namespace, model: Any, spec: Any, share: Any) -> list[dict[str, Any]]:
    """The likelihood of each split by the probability-flow ODE."""
    from corekit.build import build_dataset
    from corekit.train.ode_likelihood import ode_figure

    dataset = build_dataset(spec)
    return [
        ode_figure(model, dataset, name, args.seed, steps=args.ode, share=share)
        for name in args.split.split("+")
    ]


def _decades(by_step: dict[str, Any]) -> str:
    """One line per split: the bound, and the share of steps 0, 1 to 9, 10 to 99 ..."""
    lines = []
    for name, found in by_step.items():
        bits, parts, first, end = found["bits"], [f"prior {found['prior']:.3g}"], 0, 1
        while first < len(bits):
            steps = f"t={first}" if end - first == 1 else f"{first}-{min(end, len(bits)) - 1}"
            parts.append(f"{steps} {sum(bits[first:end]):.3g}")
            first, end = end, 10 * end
        lines.append(
            f"{name}: bound {found['bits_per_dim']:.4f} +- {found['interval95']:.4f} bits per "
            f"dimension over {found['examples']} examples: {', '.join(parts)}"
        )
    return "\n".join(lines)


def _detail(figure: dict[str, Any]) -> str:
    parts = [] if figure["sd"] is None else [f"sd {figure['sd']:.3g}"]
    parts += [f"{k} {v:.4g}" for k, v in figure["references"].items()]
    parts += [f"{k}={v}" for k, v in figure["protocol"].items()]
    return ", ".join(parts)
