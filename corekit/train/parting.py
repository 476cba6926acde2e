"""Leaves a file in the run folder that says why a run stopped before its last step."""

import json
from contextlib import suppress
from pathlib import Path

from corekit.interfaces.callback import Callback, TrainingRun
from corekit.train.stopping import EXIT_CODES

FILE = "stopped.json"


class Parting(Callback):
    """Writes ``stopped.json``, for job scripts: launchers do not pass exit codes on.

    It is there from the end of a run that stopped early until one goes on in the folder.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Take the file of an earlier stop away."""
        if run.main:
            with suppress(OSError):
                (run.path / FILE).unlink()

    def on_end(self, run: TrainingRun, reason: str | None) -> None:
        """Write why; nothing after the last step."""
        if run.main and reason is not None:
            with suppress(OSError):  # a full disk: the checkpoint is what counts
                write_parting(run.path, reason, run.step, run.steps)


def write_parting(folder: Path, reason: str, step: int, steps: int) -> None:
    """Write ``stopped.json``: the reason, the exit code that goes with it, and the step."""
    facts = {"reason": reason, "exit_code": EXIT_CODES[reason], "step": step, "steps": steps}
    (folder / FILE).write_text(json.dumps(facts) + "\n", encoding="utf-8")
