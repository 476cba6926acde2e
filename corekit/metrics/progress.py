"""What a person sees while many distances are measured: one line on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_EVERY = 0.2  # seconds between two drawings; nothing is drawn before
_WIDTH = 30


def watched(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """The items; on a terminal with a bar, how many there were, and how long the rest takes.

    It writes plain text to stderr: `corekit.metrics` is below the floor that may use a toolkit.
    """
    start = shown = time.monotonic()
    terminal, drawn = sys.stderr.isatty(), False
    try:
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if terminal and now - shown > _EVERY:
                shown, drawn = now, True
                _draw(bar(done, total, what, now - start))
    finally:
        if drawn:
            _draw("")


def bar(done: int, total: int, what: str, seconds: float) -> str:
    """The line: what, a bar, done/total, and the time that is left."""
    full = _WIDTH * done // total
    left = int(seconds / done * (total - done))
    drawn = "█" * full + "·" * (_WIDTH - full)
    return f"{what} {drawn} {done}/{total}  {left // 60}:{left % 60:02} left"


def _draw(line: str) -> None:
    """Over the line before."""
    sys.stderr.write(f"\r\x1b[K{line}")
    sys.stderr.flush()
