"""Specs of flows that are fitted without data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.flows import NormalSpec
from corekit.spec.slots import BijectorSlot, PriorSlot

TargetName = Literal["banana", "two_modes", "funnel"]


class VariationalFlowSpec(Spec):
    """A flow fitted to a density that is known up to a constant, by its own draws."""

    type: Literal["variational_flow"] = "variational_flow"
    bijector: BijectorSlot = Field(
        description="the invertible map from x to noise; training runs it backwards",
        examples=[{"type": "repeat", "times": 4, "of": "linear"}],
    )
    base: PriorSlot = Field(
        default_factory=NormalSpec,
        description="the density of what the bijector gives, not learned",
    )
    target: TargetName = Field("banana", description="the density; in Python any function")
    alpha: float = Field(
        1.0, ge=0, le=1, description="1 is the reverse KL divergence, 0 covers more"
    )
    particles: int = Field(1, ge=1, description="draws per row of a batch")
    gradient: Literal["path", "total"] = Field(
        "path", description="through the draws alone, which has less noise, or as autograd finds it"
    )

    def shape(self, data: DataSpec) -> None:
        """Points in the plane, which pass the bijector; what comes out must fit the base."""
        if tuple(data.event_shape) != (2,):
            raise ShapeError(
                f"variational_flow: the data must have the event shape (2,) of the target "
                f"'{self.target}', got {tuple(data.event_shape)}."
            )
        with place("bijector"):
            latent_shape = self.bijector.shape(event_shape=(2,), context_shape=None)
        if latent_shape is not None:
            with place("base", given_by="bijector"):
                self.base.shape(event_shape=tuple(latent_shape), condition=None)


class Targets2dSpec(Spec):
    """Exact draws from a density that flows are fitted to without data."""

    type: Literal["targets2d"] = "targets2d"
    density: TargetName = Field("banana", description="which density")
    size: int = Field(10_000, ge=1, description="number of training points, which are not used")
    held_out: int = Field(2_000, ge=1, description="number of points in each of the other splits")
    seed: int = Field(0, ge=0, description="which points")

    def data_spec(self) -> DataSpec:
        """Points (2,)."""
        return DataSpec((2,), size=self.size)
