"""Where the time of a step goes, and the most memory that was used; no host waits before a log."""

import resource
import sys
import time
from typing import Any

import torch

_TIMED = 64  # steps between two log lines that are timed on a GPU: each mark is an event there


class StopWatch:
    """A stop watch for the phases of a step: data, forward, backward, optimizer.

    On a CPU it reads the clock. On a GPU, where work is only queued, it records events in the
    queue, and looks at them when the log is written: "data" is then how long the GPU had nothing
    to do before the batch was there. Evaluations and checkpoints are in no phase.

    Args:
        device: Where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._device = device
        self._sums: dict[str, float] = {}
        self._events: list[tuple[str | None, Any]] = []
        self._steps, self._open = 0, False
        self._last = time.perf_counter()

    def begin(self) -> None:
        """A step begins: its batch is waited for."""
        self._open = not self._cuda or self._steps < _TIMED
        if self._open:
            self._steps += 1
            self._mark(None)

    def mark(self, phase: str) -> None:
        """A phase ends; the next begins."""
        if self._open:
            self._mark(phase)

    def _mark(self, phase: str | None) -> None:
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._events.append((phase, event))
            return
        now = time.perf_counter()
        if phase is not None:
            self._sums[phase] = self._sums.get(phase, 0.0) + now - self._last
        self._last = now

    def read(self) -> dict[str, float]:
        """Milliseconds per step of each phase since the last call; starts anew."""
        if self._events:
            self._events[-1][1].synchronize()
        for (_, before), (phase, event) in zip(self._events, self._events[1:], strict=False):
            if phase is not None:
                seconds = before.elapsed_time(event) / 1000
                self._sums[phase] = self._sums.get(phase, 0.0) + seconds
        found = {p: round(1000 * s / max(self._steps, 1), 4) for p, s in self._sums.items()}
        self._sums, self._events, self._steps, self._open = {}, [], 0, False
        return found


def peak_memory(device: torch.device) -> float:
    """The most memory used so far, MiB: by torch on a GPU, by the process on a CPU."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB; bytes on a Mac
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
