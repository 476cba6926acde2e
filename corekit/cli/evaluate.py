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
        "--metric", action="append", metavar="NAME", help="instead of the spec's metrics"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Evaluate; prints every figure with its unit and references, and writes them to a file."""
    from corekit.train.evaluation import evaluate

    with sharing(args) as share:
        model, spec, folder = loaded_model(args)
        options = sampling_options(args, model) | {"share": share}
        result = evaluate(
            model,
            spec,
            split=args.split,
            metrics=args.metric,
            num=args.num,
            seed=args.seed,
            **options,
        )
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
    print(path)
    return 0


def _detail(figure: dict[str, Any]) -> str:
    parts = [] if figure["sd"] is None else [f"sd {figure['sd']:.3g}"]
    parts += [f"{k} {v:.4g}" for k, v in figure["references"].items()]
    parts += [f"{k}={v}" for k, v in figure["protocol"].items()]
    return ", ".join(parts)
