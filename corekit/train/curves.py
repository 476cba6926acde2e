"""Keeps the picture of the loss curves in the run folder fresh."""

import time
from contextlib import suppress
from pathlib import Path

from corekit.interfaces.callback import Callback, TrainingRun
from corekit.report.curves import save_curves
from corekit.train.run_folder import RunFolder

_SECONDS = 60.0


class Curves(Callback):
    """Draws ``curves.png`` at checkpoints, at most once a minute, and at the end."""

    def __init__(self) -> None:
        self._drawn = time.monotonic()

    def on_checkpoint(self, run: TrainingRun, folder: Path) -> None:
        """Draw if the last picture is a minute old."""
        if time.monotonic() - self._drawn > _SECONDS:
            self._draw(run)

    def on_end(self, run: TrainingRun, reason: str | None) -> None:
        """Draw the last picture."""
        self._draw(run)

    def _draw(self, run: TrainingRun) -> None:
        if run.main:
            with suppress(OSError):  # a full disk: a picture is not worth a run
                save_curves(RunFolder(run.path).records(), run.path / "curves.png")
        self._drawn = time.monotonic()
