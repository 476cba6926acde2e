"""`corekit data`: look into data files, and convert them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corekit.cli.table import print_json, print_table
from corekit.errors import UsageError

if TYPE_CHECKING:
    from corekit.data.inspecting import Finding
    from corekit.spec import Spec


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "tell what is in a file or folder, and which data set reads it"
    inspect = actions.add_parser("inspect", help=summary, description=f"{summary.capitalize()}.")
    inspect.add_argument("path", metavar="PATH", help="a file or a folder")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    summary = "write a folder or a file into one file that is read fast"
    convert = actions.add_parser("convert", help=summary, description=f"{summary.capitalize()}.")
    convert.add_argument("path", metavar="IN", help="a file or a folder that `inspect` knows")
    convert.add_argument("out", metavar="OUT", help="the file to write: .h5 or .npz")
    convert.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="OPTION=VALUE",
        help="an option of the data set that `inspect` names: size=64, labels=folder; repeatable",
    )


def run(args: argparse.Namespace) -> int:
    """Inspect or convert; a file that is written comes last."""
    return _inspect(args) if args.action == "inspect" else _convert(args)


def _inspect(args: argparse.Namespace) -> int:
    from corekit.data.inspecting import look

    path = Path(args.path)
    found = look(path)
    if args.json:
        rows = [dict(zip(map(str.lower, found.header), row, strict=True)) for row in found.rows]
        facts = {"what": found.what, **found.files, "contents": rows, "notes": list(found.notes)}
        print_json({"path": str(path), **facts, "data": dict(found.data)})
        return 0
    print(f"{path}: {found.what}, {_size(found.files)}")
    for name in ("sha256", "listing_sha256"):
        if name in found.files:
            print(f"{name} {found.files[name]}")
    print()
    print_table(found.header, found.rows)
    print()
    for note in found.notes:
        print(note)
    _print_block(found)
    return 0


def _convert(args: argparse.Namespace) -> int:
    from corekit.data.inspecting import look

    found = look(Path(args.path))
    spec = _with_options(found.data, args.sets)
    from corekit.build import component
    from corekit.data.converting import convert

    out = convert(component("dataset", spec), args.out)
    made = look(out)
    print(f"{made.what}, {_size(made.files)}")
    _print_block(made)
    print(out)
    return 0


def _with_options(data: Any, sets: Sequence[str]) -> Spec:
    """The spec of a data set, with the options of the command line."""
    from pydantic import ValidationError

    from corekit.spec import spec_class
    from corekit.spec.dump import dump_value
    from corekit.spec.merge import apply_set
    from corekit.spec.yaml12 import parse

    tree, _ = parse(dump_value(dict(data)), "data")
    for number, argument in enumerate(sets, start=1):
        tree = apply_set(tree, argument, number) if tree is not None else None
    options = tree.plain() if tree is not None else {}
    try:
        return spec_class("dataset", options["type"]).model_validate(options)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
        raise UsageError(f"--set: {'; '.join(problems)}.") from error


def _size(files: Any) -> str:
    size = float(files.get("bytes", 0))
    unit = next((u for u in ("bytes", "kB", "MB") if (size := size / 1000) < 1), "GB")
    number = f"{files.get('bytes', 0)}" if unit == "bytes" else f"{size * 1000:.1f}"
    count = files.get("files", 1)
    return f"{number} {unit}" + (f" in {count} files" if count != 1 else "")


def _print_block(found: Finding) -> None:
    from corekit.spec.dump import dump_value

    print(f"Read by `{found.data['type']}`:")
    print()
    print("data:")
    for name, value in found.data.items():
        print(f"  {name}: {dump_value([value]).strip().removeprefix('[').removesuffix(']')}")
