"""Specs of the learning-rate schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Spec

Warmup = Annotated[
    int, Field(ge=0, description="steps over which the rate grows from zero to the optimizer's")
]
End = Annotated[int, Field(ge=1, description="step at which the decay ends", examples=[20000])]


class ConstantSpec(Spec):
    """The same learning rate throughout."""

    type: Literal["constant"] = "constant"
    warmup_steps: Warmup = 0


class _DecaySpec(Spec):
    """A decay that begins when the warm-up is over."""

    end: End
    end_lr: float = Field(0.0, ge=0, description="learning rate from then on")
    warmup_steps: Warmup = 0

    @model_validator(mode="after")
    def _ends_after_the_warmup(self) -> Self:
        if self.end <= self.warmup_steps:
            raise ValueError(
                f"end must be greater than warmup_steps = {self.warmup_steps}, got {self.end}"
            )
        return self


class LinearSpec(_DecaySpec):
    """The optimizer's rate after the warm-up, linearly to `end_lr` at `end`."""

    type: Literal["linear"] = "linear"


class CosineSpec(_DecaySpec):
    """The optimizer's rate after the warm-up, along half a cosine to `end_lr` at `end`."""

    type: Literal["cosine"] = "cosine"


class LinearDecaySpec(Spec):
    """The optimizer's rate until `start`, linearly to `end_lr` at `end`, and that from there."""

    type: Literal["linear_decay"] = "linear_decay"
    start: int = Field(ge=0, description="step at which the decay starts", examples=[10000])
    end: End
    end_lr: float = Field(ge=0, description="learning rate from then on", examples=[1e-4])
    warmup_steps: Warmup = 0

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end must be greater than start = {self.start}, got {self.end}")
        return self


class NoamSpec(Spec):
    """A linear warm-up, then a decay with the square root of the step (Transformer)."""

    type: Literal["noam"] = "noam"
    warmup_steps: int = Field(4000, ge=1, description="step of the largest rate")
    features: int | None = Field(
        None,
        ge=1,
        description="width of the model, d of the paper's formula, whose factor is then the "
        "optimizer's rate; if null that rate is the largest",
    )


class StepSpec(Spec):
    """The optimizer's rate, multiplied by `factor` every so many steps."""

    type: Literal["step"] = "step"
    every: int = Field(ge=1, description="steps between two changes", examples=[10000])
    factor: float = Field(0.1, gt=0, le=1, description="what each change multiplies the rate by")
    warmup_steps: Warmup = 0
