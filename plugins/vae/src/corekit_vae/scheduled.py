"""A number that may follow a schedule: the weight of a term, a capacity."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from corekit.errors import UsageError
from corekit_vae.specs.schedules import ScheduleSpec

Given = float | ScheduleSpec | Mapping[str, Any]
"""How a schedule is given: the number, its spec, or a mapping of the same content."""


def value_at(schedule: ScheduleSpec, step: int) -> float:
    r"""The number before optimizer step ``step``.

    .. math::
        v = a + (b - a)\, r(s), \qquad
        r_{linear} = \min(1, s / n), \quad r_{cosine} = \tfrac12 (1 - \cos \pi r_{linear}), \quad
        r_{cyclic} = \min(1, (s \bmod n) / (R n))

    with s the steps after the delay, n ``steps`` and R ``ramp``; after the last cycle r = 1.

    Source: cyclic: Fu et al., Cyclical Annealing Schedule, NAACL 2019, eq. 6,
        https://arxiv.org/abs/1903.10145.
    """
    passed, steps = max(0, step - schedule.delay), schedule.steps
    if schedule.shape == "cyclic":
        over = schedule.cycles is not None and passed >= schedule.cycles * steps
        share = 1.0 if over else min(1.0, passed % steps / (schedule.ramp * steps))
    else:
        share = min(1.0, passed / steps)
    if schedule.shape == "cosine":
        share = 0.5 * (1 - math.cos(math.pi * share))
    return schedule.start + (schedule.end - schedule.start) * share


class Scheduled(nn.Module):
    """A number of at least 0 that is the same in a resumed run: it depends on the step alone.

    Args:
        who: Whose it is, for errors.
        name: What it is called there.
        given: The number, or a schedule.

    Attributes:
        constant: The number, or None where there is a schedule.

    Raises:
        UsageError: If it is negative, or no schedule.
    """

    now: Tensor

    def __init__(self, who: str, name: str, given: Given) -> None:
        super().__init__()
        self.constant: float | None = None
        self.schedule: ScheduleSpec | None = None
        if isinstance(given, (ScheduleSpec, Mapping)):
            self.schedule = _schedule(who, name, given)
            self.register_buffer("now", torch.zeros(()), persistent=False)
            self.move(0)
        else:
            if not 0 <= given < math.inf:
                raise UsageError(f"{who}: {name} must be at least 0 and finite, got {given}.")
            self.constant = float(given)

    def move(self, step: int) -> None:
        """Go to where it is after so many optimizer steps; the host does not wait."""
        if self.schedule is not None:
            self.now.fill_(value_at(self.schedule, step))

    def forward(self, like: Tensor) -> Tensor | float:
        """The number, to multiply ``like`` with."""
        return self.now.to(like.dtype) if self.constant is None else self.constant


def _schedule(who: str, name: str, given: ScheduleSpec | Mapping[str, Any]) -> ScheduleSpec:
    if isinstance(given, ScheduleSpec):
        return given
    try:
        return ScheduleSpec.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (name, *first["loc"])))
        raise UsageError(f"{who}: {where}: {first['msg']}, got {first['input']!r}.") from None
