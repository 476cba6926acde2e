"""The spec of the probability-flow ODE. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.spec import Spec
from corekit.spec.base import place
from corekit.spec.slots import (
    DenoiserSlot,
    DenoisingLossSlot,
    NoiseScheduleSlot,
    TimestepSamplerSlot,
)


class ProbabilityFlowSpec(Spec):
    """The ODE of a diffusion model, from data to noise."""

    type: Literal["ddpm.probability_flow"] = "ddpm.probability_flow"
    denoiser: DenoiserSlot = Field(
        description="the network that looks at noisy data", examples=[{"type": "ddpm.mlp"}]
    )
    schedule: NoiseScheduleSlot = Field(
        description="how much noise there is at which time", examples=["ddpm.rectified"]
    )
    loss: DenoisingLossSlot | None = Field(
        None, description="of train_by: denoising; the squared error of v if null"
    )
    timesteps: TimestepSamplerSlot | None = Field(
        None, description="which times training draws; all alike if null"
    )
    solver: Literal["rk4", "dopri5", "midpoint", "euler"] = Field(
        "rk4", description="4, 6, 2 or 1 calls of the denoiser per step"
    )
    steps: int = Field(50, ge=1, description="of the solver")
    trace: Literal["exact", "hutchinson"] = Field(
        "exact", description="of the Jacobian: exact, or an unbiased estimate"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        conditions = {} if context_shape is None else {"vector": context_shape}
        with place("denoiser"):
            self.denoiser.shape(
                event_shape=event_shape, condition_shapes=conditions, out_channels=None
            )
        return event_shape
