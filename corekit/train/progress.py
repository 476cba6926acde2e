"""What a person sees while a run trains: a bar on a terminal, plain lines elsewhere."""

import math
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SHOWN = 4  # terms beside the loss


class Report:
    """A progress bar with ETA, and one line per log record.

    Args:
        total: Number of steps.
        done: Steps taken before.
        quiet: Show nothing.
    """

    def __init__(self, total: int, done: int = 0, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
            self.bar = Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn())
            self._task = self.bar.add_task("training", total=total, completed=done)
        self.total = total

    def __enter__(self) -> "Report":
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()

    def step(self, done: int) -> None:
        """Move the bar."""
        if self.bar:
            self.bar.update(self._task, completed=done)

    def line(self, record: Mapping[str, Any]) -> None:
        """One log record in words."""
        if self.quiet:
            return
        hidden = {"step", "split", "loss", "seconds", "steps_per_s", "lr", "grad_norm", "units"}
        terms = [(k, v) for k, v in record.items() if k not in hidden and isinstance(v, float)]
        parts = [
            f"step {record['step']:>6}/{self.total}",
            f"{record['split']:>5} loss {record.get('loss', math.nan):.4f}",
        ]
        parts += [f"{name} {value:.4g}" for name, value in terms[:_SHOWN]]
        if record.get("steps_per_s"):
            left = (self.total - record["step"]) / record["steps_per_s"]
            parts.append(f"{record['steps_per_s']:.1f} steps/s, {_duration(left)} left")
        self.say("  ".join(parts))

    def say(self, text: str) -> None:
        """A line that does not disturb the bar."""
        if self.quiet:
            return
        (self.bar.console.print if self.bar else _plain)(text)


def _plain(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
