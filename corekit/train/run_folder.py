"""The run folder: where everything about a run is."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corekit.errors import CheckpointError, UsageError


class RunFolder:
    """``spec.yaml``, ``metrics.jsonl``, ``checkpoints/``, ``samples/`` of one run.

    Args:
        path: The folder; made on `create`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.metrics = self.path / "metrics.jsonl"
        self.samples = self.path / "samples"
        self.spec = self.path / "spec.yaml"

    def create(self, spec: str) -> None:
        """Make the folder, and write the spec.

        Raises:
            UsageError: If it holds a run already.
        """
        if self.spec.exists():
            raise UsageError(
                f"{self.path}: a new run must have a folder of its own, got one with a run in it. "
                "Continue it with --resume, or choose another --run NAME."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.spec.write_text(spec, encoding="utf-8")

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step lies."""
        return self.path / "checkpoints" / f"step-{step:07d}"

    def sample(self, step: int) -> Path:
        """Where the samples of a step lie, without an ending."""
        return self.samples / f"step-{step:07d}"

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to ``metrics.jsonl``.

        Raises:
            CheckpointError: If it cannot be written (a full disk, say).
        """
        try:
            with open(self.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise CheckpointError(
                f"{self.metrics}: the log must fit on the disk, got '{error}'. "
                "Make room and go on with --resume."
            ) from error

    def records(self) -> Iterator[dict[str, Any]]:
        """The lines of ``metrics.jsonl``; an unfinished last line is left out."""
        if self.metrics.exists():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    return

    def has(self, step: int, split: str) -> bool:
        """Whether a record of this step and split was written."""
        return any(r["step"] == step and r["split"] == split for r in self.records())

    def best_step(self, metric: str | None) -> int | None:
        """The step with the least held-out value of a metric so far; None if there is none."""
        if metric is None:
            return None
        held_out = [r for r in self.records() if r["split"] == "val"]
        known = [(r[metric], r["step"]) for r in held_out if isinstance(r.get(metric), float)]
        return min(known)[1] if known else None

    def continue_log(self, other: Path) -> None:
        """Begin with the records of another run."""
        if (other / self.metrics.name).exists():
            shutil.copyfile(other / self.metrics.name, self.metrics)

    def rewind(self, step: int) -> None:
        """Drop the records after a step, which a resumed run will write again."""
        kept = [json.dumps(r) for r in self.records() if r["step"] <= step]
        partial = self.metrics.with_suffix(".partial")
        partial.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(partial, self.metrics)


def run_of(path: str | Path) -> Path:
    """The run folder of a run folder or of one of its checkpoints."""
    path = Path(path)
    return path.parent.parent if path.parent.name == "checkpoints" else path


def default_run(spec: str | Path, runs: str | Path = "runs") -> Path:
    """``runs/NAME`` for a spec file, with a number behind it if that is taken."""
    name = Path(spec).stem
    path, number = Path(runs) / name, 2
    while path.exists():
        path, number = Path(runs) / f"{name}-{number}", number + 1
    return path
