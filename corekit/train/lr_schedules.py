"""Learning rates as pure functions of the step: nothing to save, nothing to resume."""

import math
from collections.abc import Callable

LrSchedule = Callable[[int, float], float]
"""(steps taken so far, base learning rate) -> learning rate of the next step."""


def constant(*, warmup_steps: int = 0) -> LrSchedule:
    r"""The base rate, after a linear warm-up from base / warmup_steps.

    .. math:: \eta_s = \eta\, w_s, \qquad w_s = \min(1, (s + 1) / W)
    """
    return lambda step, base: base * _warmup(step, warmup_steps)


def linear(*, end: int, end_lr: float = 0.0, warmup_steps: int = 0) -> LrSchedule:
    r"""A warm-up of W steps, then linearly from the base rate to ``end_lr`` at ``end``.

    .. math:: \eta_s = \eta + u_s (\eta_{end} - \eta), \qquad
        u_s = \min(1, \max(0, (s - W) / (end - W)))

    Times w_s of `constant` while s < W.
    """

    def rate(step: int, base: float) -> float:
        done = _progress(step, warmup_steps, end)
        return _warmup(step, warmup_steps) * (base + done * (end_lr - base))

    return rate


def cosine(*, end: int, end_lr: float = 0.0, warmup_steps: int = 0) -> LrSchedule:
    r"""A warm-up of W steps, then along half a cosine from the base rate to ``end_lr`` at ``end``.

    .. math:: \eta_s = \eta_{end} + \tfrac12 (\eta - \eta_{end}) (1 + \cos \pi u_s)

    u_s as in `linear`; times w_s of `constant` while s < W. It stays at ``end_lr``: no restarts.

    Source: Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5, https://arxiv.org/abs/1608.03983.
    """

    def rate(step: int, base: float) -> float:
        done = _progress(step, warmup_steps, end)
        wave = 0.5 * (1 + math.cos(math.pi * done))
        return _warmup(step, warmup_steps) * (end_lr + (base - end_lr) * wave)

    return rate


def linear_decay(*, start: int, end: int, end_lr: float, warmup_steps: int = 0) -> LrSchedule:
    r"""The base rate until ``start``, then linearly to ``end_lr`` at ``end``, then constant.

    .. math:: \eta_s = \eta + \frac{s - start}{end - start} (\eta_{end} - \eta)
        \quad \text{for } start \le s \le end

    Times w_s of `constant` while s <= start.
    """

    def rate(step: int, base: float) -> float:
        if step <= start:
            return base * _warmup(step, warmup_steps)
        if step >= end:
            return end_lr
        return base + (step - start) / (end - start) * (end_lr - base)

    return rate


def noam(*, warmup_steps: int = 4000, features: int | None = None) -> LrSchedule:
    r"""A linear warm-up of W steps, then a decay with the square root of the step.

    .. math:: \eta_s = \eta\, d^{-1/2} \min\big((s+1)^{-1/2},\ (s+1)\, W^{-3/2}\big)

    Without ``features`` (d) it is scaled such that the largest rate, that of step W - 1, is the
    base rate itself: d = 1 / W.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, eq. 3,
        https://arxiv.org/abs/1706.03762.
    """
    scale = math.sqrt(warmup_steps) if features is None else 1 / math.sqrt(features)

    def rate(step: int, base: float) -> float:
        number = step + 1
        return base * scale * min(number**-0.5, number * warmup_steps**-1.5)

    return rate


def step(*, every: int, factor: float = 0.1, warmup_steps: int = 0) -> LrSchedule:
    r"""The base rate, multiplied by ``factor`` every so many steps.

    .. math:: \eta_s = \eta\, w_s\, \mathrm{factor}^{\lfloor s / every \rfloor}
    """
    return lambda step, base: base * _warmup(step, warmup_steps) * factor ** (step // every)


def _warmup(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / steps) if steps else 1.0


def _progress(step: int, start: int, end: int) -> float:
    return min(1.0, max(0.0, (step - start) / (end - start)))
