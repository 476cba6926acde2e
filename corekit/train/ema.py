"""An exponential moving average of the parameters."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    r"""Averaged weights: theta' <- r theta' + (1 - r) theta after every optimizer step.

    The rate warms up, r = min(rate, (1 + n) / (10 + n)) after n steps, so that short runs do not
    average their start. Parameters are averaged, in float32 or wider; buffers (running statistics,
    counters) are the model's own, never averages.

    Args:
        model: Whose parameters are averaged; unwrapped.
        rate: The decay r.
    """

    def __init__(self, model: nn.Module, rate: float) -> None:
        self.model, self.rate, self.steps = model, rate, 0
        self._live = [p for p in model.parameters() if p.requires_grad]
        self.shadow = [p.detach().clone() for p in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the weights; one fused pass."""
        rate = min(self.rate, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.shadow, list(self._live), 1 - rate)
        self.steps += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with averaged weights inside a ``with`` block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, shadow in zip(self._live, self.shadow, strict=True):
            kept = live.clone()
            live.copy_(shadow)
            shadow.copy_(kept)

    def state_dict(self) -> dict[str, Tensor]:
        """A state dict of the model with averaged weights."""
        with self.applied():
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor], steps: int) -> None:
        """Continue an average."""
        names = [n for n, p in self.model.named_parameters() if p.requires_grad]
        for name, shadow in zip(names, self.shadow, strict=True):
            shadow.copy_(state[name])
        self.steps = steps
