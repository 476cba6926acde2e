"""Exponential moving averages of the parameters."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from corekit.checkpoint.shares import shared_like


class Ema:
    r"""Averaged weights: theta' <- r theta' + (1 - r) theta after every optimizer step.

    The rate warms up, r = min(rate, (1 + n) / (10 + n)) after n steps, so that short runs do not
    average their start. Parameters are averaged, in float32 or wider; buffers (running statistics,
    counters) are the model's own, never averages.

    Args:
        model: Whose parameters are averaged; unwrapped.
        rates: The decay r, or several, each with an average of its own. The first is the one that
            evaluations and samples use.
    """

    def __init__(self, model: nn.Module, rates: float | Sequence[float]) -> None:
        self.model, self.steps = model, 0
        self.rates = (rates,) if isinstance(rates, float) else tuple(rates)
        self._live = [p for p in model.parameters() if p.requires_grad]
        self.shadows = {rate: [p.detach().clone() for p in self._live] for rate in self.rates}

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the weights; one fused pass for each rate."""
        limit = (1 + self.steps) / (10 + self.steps)
        for rate, shadow in self.shadows.items():
            torch._foreach_lerp_(shadow, list(self._live), 1 - min(rate, limit))
        self.steps += 1

    @contextmanager
    def applied(self, rate: float | None = None) -> Iterator[None]:
        """The model with averaged weights inside a ``with`` block; the first rate unless given."""
        shadow = self.shadows[self.rates[0] if rate is None else rate]
        self._swap(shadow)
        try:
            yield
        finally:
            self._swap(shadow)

    @torch.no_grad()
    def _swap(self, shadows: list[Tensor]) -> None:
        for live, shadow in zip(self._live, shadows, strict=True):
            kept = live.clone()
            live.copy_(shadow)
            shadow.copy_(kept)

    def state_dict(self, rate: float | None = None) -> dict[str, Tensor]:
        """A state dict of the model with averaged weights."""
        with self.applied(rate):
            return {k: v.detach().clone() for k, v in self.model.state_dict().items()}

    @torch.no_grad()
    def load_state_dict(
        self, state: Mapping[str, Any], steps: int, rate: float | None = None
    ) -> None:
        """Continue an average."""
        shadows = self.shadows[self.rates[0] if rate is None else rate]
        names = [n for n, p in self.model.named_parameters() if p.requires_grad]
        for name, shadow in zip(names, shadows, strict=True):
            shadow.copy_(shared_like(state[name], shadow))
        self.steps = steps
