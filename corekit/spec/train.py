"""Specs of training: the optimizers, the learning-rate schedules and the section `train`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Section, Spec
from corekit.spec.slots import LrScheduleSlot, OptimizerSlot

Decay = Annotated[float, Field(ge=0, lt=1)]


class AdamSpec(Spec):
    """Adam; weight decay is added to the gradient."""

    type: Literal["adam"] = "adam"
    lr: float = Field(1e-3, gt=0, description="learning rate")
    betas: tuple[Decay, Decay] = Field(
        (0.9, 0.999), description="decay of the running means of gradient and squared gradient"
    )
    eps: float = Field(1e-8, gt=0, description="added to the denominator")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")


class AdamWSpec(Spec):
    """Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0, description="learning rate")
    betas: tuple[Decay, Decay] = Field(
        (0.9, 0.999), description="decay of the running means of gradient and squared gradient"
    )
    eps: float = Field(1e-8, gt=0, description="added to the denominator")
    weight_decay: float = Field(0.01, ge=0, description="weight decay, per step and unit of lr")


class SgdSpec(Spec):
    """Stochastic gradient descent."""

    type: Literal["sgd"] = "sgd"
    lr: float = Field(1e-2, gt=0, description="learning rate")
    momentum: float = Field(0.0, ge=0, lt=1, description="how much of the last step is kept")
    weight_decay: float = Field(0.0, ge=0, description="weight decay")
    nesterov: bool = Field(False, description="look ahead; needs a momentum")

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov must have a momentum, got momentum 0. Set one above 0.")
        return self


class ConstantSpec(Spec):
    """The same learning rate throughout."""

    type: Literal["constant"] = "constant"
    warmup_steps: int = Field(0, ge=0, description="steps over which the rate grows from zero")


class LinearDecaySpec(Spec):
    """The optimizer's rate until `start`, linearly to `end_lr` at `end`, and that from there."""

    type: Literal["linear_decay"] = "linear_decay"
    start: int = Field(ge=0, description="step at which the decay starts", examples=[10000])
    end: int = Field(ge=1, description="step at which it ends", examples=[20000])
    end_lr: float = Field(ge=0, description="learning rate from then on", examples=[1e-4])
    warmup_steps: int = Field(0, ge=0, description="steps over which the rate grows from zero")

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end must be greater than start = {self.start}, got {self.end}")
        return self


class TrainSpec(Section):
    """How long, how fast and how carefully to train."""

    steps: int = Field(10_000, ge=1, description="number of optimizer steps")
    batch_size: int = Field(32, ge=1, description="examples per step, over all processes")
    optimizer: OptimizerSlot = Field(default_factory=AdamSpec, description="the optimizer")
    lr_schedule: LrScheduleSlot = Field(
        default_factory=ConstantSpec, description="the learning rate over time"
    )
    ema: float | None = Field(
        None, gt=0, lt=1, description="decay of the averaged weights that samples are drawn from"
    )
    grad_clip: float | None = Field(None, gt=0, description="largest norm of the gradient")
    accumulate: int = Field(1, ge=1, description="parts that a batch is split into, to save memory")
    precision: Literal["fp32", "bf16", "fp16"] = Field("fp32", description="of the arithmetic")
    seed: int = Field(0, ge=0, description="of all randomness")
    workers: int = Field(0, ge=0, description="processes that load data")
    log_every: int = Field(50, ge=1, description="steps between two lines of the log")
    checkpoint_every: int = Field(1000, ge=1, description="steps between two checkpoints")
    keep: int = Field(2, ge=1, description="number of checkpoints kept")
    sample_every: int | None = Field(None, ge=1, description="steps between two sets of samples")
    evaluate_every: int | None = Field(None, ge=1, description="steps between two evaluations")
    samples: int | None = Field(
        None,
        ge=1,
        description="number of samples in a set; if null 8, or 2000 points in the plane",
    )
    max_time: float | None = Field(
        None, gt=0, description="minutes after which training saves and stops"
    )
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, mps")
