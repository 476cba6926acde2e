"""Tells callbacks what happens: those that the spec names, and the trainer's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corekit.build import component
from corekit.errors import CorekitError, PluginError
from corekit.interfaces.callback import Callback
from corekit.interfaces.model import GenerativeModel
from corekit.spec import RunSpec
from corekit.train.curves import Curves
from corekit.train.parting import Parting
from corekit.train.stopping import STOPPED_EARLY, Stop
from corekit.train.trackers import Trackers

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


class Callbacks:
    """The callbacks of a trainer, and the run that they see (a `TrainingRun`).

    Args:
        trainer: Whose run it is.
        more: Callbacks beside those of the spec.
    """

    def __init__(self, trainer: Trainer, more: Sequence[Callback] = ()) -> None:
        self._trainer, self._stop = trainer, Stop()
        self._named = [(part.type, component("callback", part)) for part in trainer.train.callbacks]
        own: list[Callback] = [Curves(), Parting(), *more]
        if trainer.train.trackers:
            own.append(Trackers(trainer.train.trackers))
        self._all = [*self._named, *((type(c).__name__, c) for c in own)]
        # Only those that look at steps: for the others a step costs nothing.
        self._steps = [
            (n, c) for n, c in self._all if type(c).on_step_end is not Callback.on_step_end
        ]

    # -- what a callback sees ----------------------------------------------------------------

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        return self._trainer.step

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self._trainer.train.steps

    @property
    def path(self) -> Path:
        """The run folder."""
        return self._trainer.run.path

    @property
    def spec(self) -> RunSpec:
        """The spec."""
        return self._trainer.spec

    @property
    def model(self) -> GenerativeModel:
        """The model, unwrapped."""
        return self._trainer.model

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        return self._trainer.processes.main

    def stop(self) -> None:
        """End the run after this step."""
        self._stop.reason = self._stop.reason or STOPPED_EARLY

    # -- what the trainer calls --------------------------------------------------------------

    def start(self, stop: Stop) -> None:
        """Before the first step; `stop` is what they stop it with."""
        self._stop = stop
        self._tell(self._all, "on_start")

    def step_end(self) -> None:
        """After every step."""
        if self._steps:
            self._tell(self._steps, "on_step_end")

    def logged(self, record: Mapping[str, Any]) -> None:
        """After a record is written."""
        self._tell(self._all, "on_log" if record["split"] == "train" else "on_evaluate", record)

    def saved(self, folder: Path) -> None:
        """After a checkpoint is written."""
        self._tell(self._all, "on_checkpoint", folder)

    def end(self, reason: str | None) -> None:
        """After the last step."""
        self._tell(self._all, "on_end", reason)

    def _tell(self, callbacks: Sequence[tuple[str, Callback]], method: str, *facts: Any) -> None:
        for name, callback in callbacks:
            try:
                getattr(callback, method)(self, *facts)
            except CorekitError:
                raise
            except Exception as error:
                raise PluginError(
                    f"callback '{name}': {method} must not fail, got "
                    f"{type(error).__name__}: {error}. Leave it out of train.callbacks."
                ) from error

    def state_dict(self) -> dict[str, Any]:
        """What the callbacks of the spec remember, in their order."""
        return {str(i): callback.state_dict() for i, (_, callback) in enumerate(self._named)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember."""
        for i, (_, callback) in enumerate(self._named):
            if str(i) in state:
                callback.load_state_dict(state[str(i)])
