"""The Callback interface: what looks at a run while it trains."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from torch import nn


class TrainingRun(Protocol):
    """What a callback is told of a run."""

    @property
    def step(self) -> int:
        """Optimizer steps taken."""
        ...

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        ...

    @property
    def path(self) -> Path:
        """The run folder."""
        ...

    @property
    def spec(self) -> Any:
        """The spec, a `corekit.spec.RunSpec`."""
        ...

    @property
    def model(self) -> nn.Module:
        """The model, unwrapped."""
        ...

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and prints."""
        ...

    def stop(self) -> None:
        """End the run after this step: it is saved, and the exit code is 0."""
        ...


class Callback:
    """Looks at a run while it trains. It acts only if the section ``train`` of a spec names it.

    **Implement one.** Write the methods that you need; they do nothing otherwise. Each is called in
    every process, with the same numbers; write files only where ``run.main``. A callback must
    not change weights nor draw random numbers from global generators: runs resume bit for bit.
    What it remembers between calls goes through ``state_dict``, plain values and tensors.

    A method that is not overridden costs nothing. One that reads a value of a tensor in
    ``on_step_end`` makes the host wait for a GPU at every step.
    """

    def on_start(self, run: TrainingRun) -> None:
        """Before the first step, also of a resumed run."""

    def on_step_end(self, run: TrainingRun) -> None:
        """After every optimizer step."""

    def on_log(self, run: TrainingRun, record: Mapping[str, Any]) -> None:
        """After a record of training is written: loss, terms, units, learning rate, speed."""

    def on_evaluate(self, run: TrainingRun, record: Mapping[str, Any]) -> None:
        """After a record of held-out data is written."""

    def on_checkpoint(self, run: TrainingRun, folder: Path) -> None:
        """After a checkpoint is written."""

    def on_end(self, run: TrainingRun, reason: str | None) -> None:
        """After the last step, or when it stops earlier, with the reason; not after an error."""

    def state_dict(self) -> dict[str, Any]:
        """What it remembers; kept in checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Remember; called before ``on_start`` of a resumed run."""
