"""A trace of some steps, for chrome://tracing and Perfetto."""

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from corekit.errors import UsageError
from corekit.interfaces.callback import Callback, TrainingRun


class Profile(Callback):
    """Writes ``profile-FIRST-LAST.json`` and a table of the costliest operations, as text.

    Args:
        first, last: Number of the first and of the last step that is recorded, from 1.

    Raises:
        UsageError: If these are no steps.
    """

    def __init__(self, first: int, last: int) -> None:
        if not 1 <= first <= last:
            raise UsageError(
                f"--profile: steps=FIRST:LAST must have 1 <= FIRST <= LAST, got {first}:{last}."
            )
        self.first, self.last = first, last
        self._profiler: Any = None

    def on_start(self, run: TrainingRun) -> None:
        """Begin if the first step is the next one."""
        self.on_step_end(run)

    def on_step_end(self, run: TrainingRun) -> None:
        """Begin before the first step, write after the last."""
        if not run.main:
            return
        if self._profiler is not None and run.step >= self.last:
            self._write(run)
        elif self._profiler is None and run.step == self.first - 1:
            cuda = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
            self._profiler = profile(
                activities=[ProfilerActivity.CPU, *cuda], record_shapes=True, profile_memory=True
            )
            self._profiler.start()

    def on_end(self, run: TrainingRun, reason: str | None) -> None:
        """Write what there is of it, if the run stops in between."""
        if self._profiler is not None:
            self._write(run)

    def _write(self, run: TrainingRun) -> None:
        self._profiler.stop()
        path = run.path / f"profile-{self.first}-{self.last}.json"
        self._profiler.export_chrome_trace(str(path))
        table = self._profiler.key_averages().table(sort_by="self_cpu_time_total", row_limit=30)
        path.with_suffix(".txt").write_text(table, encoding="utf-8")
        self._profiler = None


def parse_profile(text: str) -> Profile:
    """``steps=10:15``, as the command line has it.

    Raises:
        UsageError: If it is not of this form.
    """
    name, _, steps = text.partition("=")
    first, _, last = steps.partition(":")
    if name != "steps" or not first.isdigit() or not last.isdigit():
        raise UsageError(f"--profile: must be steps=FIRST:LAST, got '{text}'.")
    return Profile(int(first), int(last))
