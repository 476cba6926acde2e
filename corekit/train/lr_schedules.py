"""Learning rates as pure functions of the step: nothing to save, nothing to resume."""

from collections.abc import Callable

LrSchedule = Callable[[int, float], float]
"""(steps taken so far, base learning rate) -> learning rate of the next step."""


def constant(*, warmup_steps: int = 0) -> LrSchedule:
    """The base rate, after a linear warm-up from base / warmup_steps."""
    return lambda step, base: base * _warmup(step, warmup_steps)


def linear_decay(*, start: int, end: int, end_lr: float, warmup_steps: int = 0) -> LrSchedule:
    """The base rate until ``start``, then linearly to ``end_lr`` at ``end``, then constant."""

    def rate(step: int, base: float) -> float:
        if step <= start:
            return base * _warmup(step, warmup_steps)
        if step >= end:
            return end_lr
        return base + (step - start) / (end - start) * (end_lr - base)

    return rate


def _warmup(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / steps) if steps else 1.0
