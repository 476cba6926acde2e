"""What is done about a gradient that is not finite."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


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
        self.skip, self.limit, self.in_a_row = skip, limit, 0
        self._buffers = list(model.buffers()) if skip else []
        self._before: list[Tensor] = []

    @torch.no_grad()
    def begin(self) -> None:
        """Remember what a forward pass may change."""
        if self._buffers:
            self._before = [buffer.clone() for buffer in self._buffers]

    @torch.no_grad()
    def passes(self, grad_norm: Tensor) -> bool:
        """Whether to take the step.

        Args:
            grad_norm: ``()``; the same in all processes.
        """
        if not self.skip or bool(grad_norm.isfinite()):
            self.in_a_row = 0
            return True
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(before)
        self.in_a_row += 1
        return False

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
        return {"in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting."""
        self.in_a_row = state.get("in_a_row", 0)
