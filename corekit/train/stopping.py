"""When to stop before the last step: Ctrl-C, SIGTERM, SIGUSR1, or out of time."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from corekit.errors import CorekitError

INTERRUPTED, PREEMPTED, OUT_OF_TIME = "interrupted", "preempted", "out of time"
STOPPED_EARLY = "stopped by a callback"
EXIT_CODES = {INTERRUPTED: 130, PREEMPTED: 75, OUT_OF_TIME: 0, STOPPED_EARLY: 0}
REASONS = (None, STOPPED_EARLY, OUT_OF_TIME, INTERRUPTED, PREEMPTED)
"""As numbers, the most urgent last: several processes agree on the greatest."""

# What a scheduler sends before it takes the machine away: SIGTERM, or SIGUSR1 as Slurm is told to.
_PREEMPTING = [signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else [])]


class Stopped(CorekitError):
    """Work was left unfinished because someone asked to stop; nothing half done is written."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}: stopped before the end, nothing was written. Start it again.")
        self.reason = reason
        self.exit_code = EXIT_CODES[reason]


class Stop:
    """A flag that signals set and loops poll between two steps, so that no step is cut in half.

    A second Ctrl-C interrupts at once.

    Args:
        minutes: Stop after this long, or None.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.reason: str | None = None
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._process = os.getpid()

    def poll(self) -> str | None:
        """Why to stop, or None."""
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = OUT_OF_TIME
        return self.reason

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to SIGINT, SIGTERM and SIGUSR1 inside a ``with`` block (main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = dict.fromkeys(_PREEMPTING, self._terminate) | {signal.SIGINT: self._interrupt}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        if self.reason is not None and os.getpid() == self._process:  # loading processes go on
            raise KeyboardInterrupt
        self.reason = INTERRUPTED

    def _terminate(self, number: int, frame: object) -> None:
        self.reason = PREEMPTED
