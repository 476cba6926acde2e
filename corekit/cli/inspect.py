"""`corekit inspect`: look into a checkpoint; torch is not needed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from corekit.cli.table import print_json, print_table
from corekit.errors import CheckpointError
from corekit.registry import registry
from corekit.registry.origins import compare


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the options."""
    parser.add_argument("path", metavar="RUN", help="a run folder or one of its checkpoints")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--tensors", action="store_true", help="list every tensor of the model")


def run(args: argparse.Namespace) -> int:
    """Print where a checkpoint comes from, what has changed since, and what is in it."""
    folder = _find(Path(args.path))
    facts = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
    files = {p.stem: _header(p) for p in sorted(folder.glob("*.safetensors"))}
    findings = compare(facts["components"], registry())
    if args.json:
        changes = [finding._asdict() for finding in findings]
        print_json({"folder": str(folder), **facts, "files": files, "changes": changes})
        return 0
    print(
        f"{folder}: step {facts['step']}, corekit {facts['corekit']}, "
        f"torch {facts['libraries']['torch']}"
    )
    columns = ("kind", "name", "distribution", "version")
    print_table(
        [c.upper() for c in columns], [[c[k] for k in columns] for c in facts["components"]]
    )
    for finding in findings:
        print(finding)
    print()
    print_table(
        ("FILE", "TENSORS", "NUMBERS"),
        [(n, str(len(t)), f"{_numbers(t):,}") for n, t in files.items()],
    )
    if args.tensors:
        print()
        rows = [(name, v["dtype"], str(tuple(v["shape"]))) for name, v in files["model"].items()]
        print_table(("TENSOR", "DTYPE", "SHAPE"), rows)
    return 0


def _find(path: Path) -> Path:
    """Like `corekit.checkpoint.find`, which imports torch."""
    if (path / "provenance.json").is_file():
        return path
    inside = "checkpoints/step-*/provenance.json"
    found = [p.parent for p in (*path.glob(inside), *path.glob(f"stages/*-*/{inside}"))]
    if not found:
        raise CheckpointError(f"{path}: must be a run folder or a checkpoint folder, got neither.")
    return max(found, key=lambda folder: (_stage_of(folder), int(folder.name[5:])))


def _stage_of(checkpoint: Path) -> int:
    """The number of the stage that a checkpoint is of; 0 if there are none."""
    run = checkpoint.parent.parent
    number = run.name.partition("-")[0]
    return int(number) if run.parent.name == "stages" and number.isdigit() else 0


def _header(file: Path) -> dict[str, Any]:
    """Names, dtypes and shapes: a safetensors file starts with their JSON and its length."""
    try:
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(length))
    except (json.JSONDecodeError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{file}: the file is truncated or damaged ({error}).") from error
    header.pop("__metadata__", None)
    return {name: {"dtype": v["dtype"], "shape": v["shape"]} for name, v in header.items()}


def _numbers(tensors: dict[str, Any]) -> int:
    total = 0
    for value in tensors.values():
        size = 1
        for n in value["shape"]:
            size *= n
        total += size
    return total
