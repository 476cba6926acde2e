"""Specs of the optimizers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Spec

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


class AdamaxSpec(Spec):
    """Adam with the largest recent gradient in place of the mean square: steps are bounded."""

    type: Literal["adamax"] = "adamax"
    lr: float = Field(2e-3, gt=0, description="learning rate")
    betas: tuple[Decay, Decay] = Field(
        (0.9, 0.999), description="decay of the running mean and of the largest gradient"
    )
    eps: float = Field(1e-8, gt=0, description="added to each gradient before the maximum")
    weight_decay: float = Field(0.0, ge=0, description="weight decay, added to the gradient")


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
