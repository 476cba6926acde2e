"""What is done about a gradient that is not finite."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from corekit.interfaces.model import MAIN


class Guard:
    """Decides whether a step is taken.

    ``report``: always; what is not finite is found when the log is written, without waiting for
    the device before. ``skip``: only if the norm of the gradient is finite, which waits for the
    device once per step. A skipped step leaves weights, averages, what parts learn from losses and
    buffers as they were, and counts as a step: the data go on.

    Args:
        model: Whose buffers are put back; unwrapped.
        skip: Whether to skip.
        limit: Steps in a row that may be skipped.
    """

    def __init__(self, model: nn.Module, *, skip: bool, limit: float) -> None:
        self.skip, self.limit = skip, limit
        self._in_a_row: dict[str, int] = {}  # by phase; 0 is left out
        self._buffers = list(model.buffers()) if skip else []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Remember what a forward pass may change."""
        if self._buffers:
            self._before = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def passes(self, grad_norm: Tensor, phase: str = MAIN) -> bool:
        """Whether to take the step.

        Args:
            grad_norm: ``()``; the same in all processes.
            phase: Of the model; each is counted by itself.
        """
        if not self.skip or bool(grad_norm.isfinite()):
            self._in_a_row.pop(phase, None)
            return True
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)
        self._in_a_row[phase] = self._in_a_row.get(phase, 0) + 1
        return False

    @property
    def in_a_row(self) -> int:
        """Steps in a row that were skipped, of the phase that skipped most."""
        return max(self._in_a_row.values(), default=0)

    @property
    def exhausted(self) -> bool:
        """Whether more than ``limit`` steps in a row were skipped: the run is over."""
        return self.in_a_row > self.limit

    def reason(self) -> str:
        """Why the run is over, in words."""
        return (
            f"Trainer: a gradient must be finite, got {self.in_a_row} steps in a row whose "
            f"gradient is not (train.max_skips is {self.limit})."
        )

    def state_dict(self) -> dict[str, Any]:
        """What the next decision depends on."""
        main = self._in_a_row.get(MAIN, 0)
        others = {phase: n for phase, n in self._in_a_row.items() if phase != MAIN}
        return {"in_a_row": main, **({"phases": others} if others else {})}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        counts = {MAIN: state.get("in_a_row", 0), **state.get("phases", {})}
        self._in_a_row = {phase: n for phase, n in counts.items() if n}
