"""Noise levels and conditions that denoisers and their losses are tried with."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.schedules import linear_betas
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.testing.exercise import Tensors

STEPS = 40
_TIMES = (torch.arange(STEPS, dtype=torch.float64, device="cpu") + 1) / STEPS
SCHEDULE = DiscreteSchedule(linear_betas(STEPS))
_GRID = SCHEDULE.at(_TIMES)


def level_of(t: Tensor, dtype: torch.dtype) -> NoiseLevel:
    """The levels of integers t, ``(B,)``, as training gives them: float32 or wider, like x."""
    wide = torch.promote_types(dtype, torch.float32)

    def rows(column: Tensor) -> Tensor:
        return column.to(t.device, wide if column.is_floating_point() else column.dtype)[t]

    return _GRID.map(rows)


def random_condition(name: str, shape: Shape, dtype: torch.dtype, rows: int) -> Tensor:
    """Rows of one field of a `Condition`; labels are 0 and 1."""
    if name == "labels":
        return torch.arange(rows) % 2
    if name == "mask":
        return torch.ones(rows, *shape, dtype=torch.bool)
    return torch.randn(rows, *shape, dtype=dtype)


def another_condition(name: str, value: Tensor) -> Tensor:
    """Another value of the same field."""
    if name == "labels":
        return 1 - value
    if name == "mask":
        return torch.cat([~value[:, :1], value[:, 1:]], dim=1)
    return value + 1


def condition_of(part: Denoiser, inputs: Tensors) -> Condition | None:
    """The condition that a denoiser asks for, from inputs called "condition.vector" etc."""
    names = list(part.condition_shapes)
    return Condition(**{n: inputs[f"condition.{n}"] for n in names}) if names else None
