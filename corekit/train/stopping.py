"""When to stop before the last step: Ctrl-C, SIGTERM, or out of time."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED, PREEMPTED, OUT_OF_TIME = "interrupted", "preempted", "out of time"
EXIT_CODES = {INTERRUPTED: 130, PREEMPTED: 75, OUT_OF_TIME: 0}


class Stop:
    """A flag that signals set and the loop polls between two steps, so that no step is cut in half.

    A second Ctrl-C interrupts at once.

    Args:
        minutes: Stop after this long, or None.
    """

    def __init__(self, minutes: float | None = None) -> None:
        self.reason: str | None = None
        self._deadline = None if minutes is None else time.monotonic() + 60 * minutes

    def poll(self) -> str | None:
        """Why to stop, or None."""
        if self.reason is None and self._deadline is not None and time.monotonic() > self._deadline:
            self.reason = OUT_OF_TIME
        return self.reason

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM inside a ``with`` block (main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self._interrupt, signal.SIGTERM: self._terminate}
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        if self.reason is not None:
            raise KeyboardInterrupt
        self.reason = INTERRUPTED

    def _terminate(self, number: int, frame: object) -> None:
        self.reason = PREEMPTED
