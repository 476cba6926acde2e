"""Early stopping."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from corekit.errors import UsageError
from corekit.interfaces.callback import Callback, TrainingRun


class StopWhen(Callback):
    """Stops a run when a held-out figure has not improved for ``patience`` evaluations.

    An evaluation improves if its figure is better than the best before by more than
    ``min_change``. The checkpoint that is kept is the last one; `train.keep_best` keeps the best.

    Args:
        metric: Name of the figure in the records of held-out data.
        patience: Evaluations in a row without an improvement.
        min_change: Changes up to this are none.
        mode: "min" where lower is better.
    """

    def __init__(
        self,
        *,
        metric: str = "loss",
        patience: int = 5,
        min_change: float = 0.0,
        mode: Literal["min", "max"] = "min",
    ) -> None:
        self.metric, self.patience, self.min_change = metric, patience, min_change
        self.sign = 1.0 if mode == "min" else -1.0
        self.best, self.waited = math.inf, 0

    def on_start(self, run: TrainingRun) -> None:
        """Check that there are evaluations; a run that was stopped stays stopped.

        Raises:
            UsageError: If there are none.
        """
        if run.spec.train.evaluate_every is None:
            raise UsageError(
                "stop_when: the run must evaluate, got train.evaluate_every: null. Set it."
            )
        if self.waited >= self.patience:
            run.stop()

    def on_evaluate(self, run: TrainingRun, record: Mapping[str, Any]) -> None:
        """Compare with the best.

        Raises:
            UsageError: If the record has no such figure.
        """
        if not isinstance(record.get(self.metric), float):
            known = ", ".join(name for name, value in record.items() if isinstance(value, float))
            raise UsageError(
                f"stop_when: metric must be a figure of held-out data, got '{self.metric}'. "
                f"Known: {known}."
            )
        value = self.sign * record[self.metric]
        if value < self.best - self.min_change:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            run.stop()

    def state_dict(self) -> dict[str, Any]:
        """The best figure, and how long ago it was."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on waiting."""
        self.best, self.waited = state["best"], state["waited"]
