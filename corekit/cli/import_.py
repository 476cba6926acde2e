"""`corekit import`: turn a checkpoint of another code base into one of corekit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corekit.spec import Spec

_SHOWN = 8  # dropped keys that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument(
        "importer", metavar="IMPORTER", help="e.g. pointcloud.dpm; see `components importer`"
    )
    parser.add_argument("file", metavar="FILE", help="the checkpoint of the other code base")
    parser.add_argument("--run", required=True, metavar="NAME", help="folder runs/NAME")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="OPTION=VALUE",
        help="an option of the importer; see `corekit show IMPORTER`",
    )


def run(args: argparse.Namespace) -> int:
    """Import; says which keys were dropped."""
    importer_spec = _options(args.importer, args.sets)
    from corekit.build import build, component
    from corekit.checkpoint.load import restore
    from corekit.checkpoint.save import save
    from corekit.cli.train import run_path
    from corekit.spec import dump_yaml, run_spec
    from corekit.train.run_folder import RunFolder

    imported = component("importer", importer_spec)(Path(args.file))
    spec = run_spec(imported.spec)
    model = build(spec)
    folder = RunFolder(run_path(args.run))
    restore(model, dict(imported.state), Path(args.file))
    folder.create(dump_yaml(spec))
    path = save(
        folder.checkpoint(0), spec, model, step=0, facts={"imported_from": Path(args.file).name}
    )
    print(f"imported {len(imported.state)} tensors from {args.file}")
    if imported.dropped:
        more = len(imported.dropped) - _SHOWN
        shown = ", ".join(imported.dropped[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
        print(f"dropped {len(imported.dropped)} keys: {shown}")
    for note in imported.notes:
        print(f"note: {note}")
    print(path)
    return 0


def _options(name: str, sets: list[str]) -> Spec:
    from pydantic import ValidationError

    from corekit.errors import UsageError
    from corekit.spec import spec_class
    from corekit.spec.dump import dump_value
    from corekit.spec.merge import apply_set
    from corekit.spec.yaml12 import parse

    bad = next((text for text in sets if "=" not in text), None)
    if bad is not None:
        raise UsageError(f"--set: must be option=value, got {bad!r}.")
    tree, _ = parse(dump_value({"type": name}), "--set")
    for number, argument in enumerate(sets, start=1):
        tree = apply_set(tree, argument, number) if tree is not None else None
    try:
        return spec_class("importer", name).model_validate(tree.plain() if tree else {})
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(f"--set: {problems}. See `corekit show {name}`.") from error
