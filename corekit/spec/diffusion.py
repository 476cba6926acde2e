"""Specs of diffusion models, in their three roles, and of what core offers to build them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.spec.base import Spec, place
from corekit.spec.slots import (
    DenoiserSlot,
    DenoisingLossSlot,
    NoiseScheduleSlot,
    SamplerSlot,
    TimestepSamplerSlot,
)


class UniformSpec(Spec):
    """Every timestep equally often."""

    type: Literal["uniform"] = "uniform"


class AncestralSpec(Spec):
    """One draw from the posterior q(x_{t-1} | x_t, x_0) per step."""

    type: Literal["ancestral"] = "ancestral"
    flexibility: float = Field(
        0.0,
        ge=0,
        le=1,
        description="which variance a step adds: 0 the posterior's, 1 that of the forward step",
    )
    steps: int | None = Field(
        None, ge=1, description="number of steps, evenly spread; all of the schedule's if null"
    )


class DdimSpec(Spec):
    """Few steps; the same noise gives the same sample where eta is zero."""

    type: Literal["ddim"] = "ddim"
    eta: float = Field(
        0.0, ge=0, le=1, description="noise added per step: 0 none, 1 as much as ancestral"
    )
    steps: int | None = Field(
        None, ge=1, description="number of steps, evenly spread; all of the schedule's if null"
    )


class _DiffusionFields(Spec):
    denoiser: DenoiserSlot = Field(
        description="the network that looks at noisy data",
        examples=[{"type": "pointcloud.pointwise"}],
    )
    schedule: NoiseScheduleSlot = Field(
        description="how much noise there is at which time",
        examples=[{"type": "ddpm.linear", "steps": 200}],
    )
    loss: DenoisingLossSlot = Field(
        description="what a prediction is scored by", examples=["ddpm.mse"]
    )
    timesteps: TimestepSamplerSlot = Field(
        default_factory=UniformSpec, description="which times training draws"
    )
    sampler: SamplerSlot = Field(
        default_factory=AncestralSpec, description="how samples are drawn, unless asked otherwise"
    )

    def _check(self, event_shape: Shape, condition_shapes: Mapping[str, Shape]) -> None:
        with place("denoiser"):
            self.denoiser.shape(
                event_shape=event_shape,
                condition_shapes=condition_shapes,
                out_channels=None,  # as many as the event has; the built loss may ask for more
            )


class DiffusionModelSpec(_DiffusionFields):
    """A denoising diffusion model of the data."""

    type: Literal["diffusion"] = "diffusion"
    fixed_variance: Literal["small", "large"] = Field(
        "small", description="variance of a step back, for the bound, where it is not learned"
    )
    clip: Literal["auto", "static", "dynamic"] | None = Field(
        "auto",
        description="keep predictions in the range of the data while sampling: static cuts off, "
        "dynamic shrinks, auto is static where there is a range; null leaves them",
    )
    drop_condition: float = Field(
        0.0, ge=0, lt=1, description="share of rows that training shows without their condition"
    )
    guidance: float = Field(
        0.0, description="w of classifier-free guidance of samples: 0 none (elsewhere it is 1 + w)"
    )
    guidance_interval: tuple[float, float] | None = Field(
        None, description="ratios sigma / alpha between which to guide; everywhere if null"
    )
    guidance_rescale: float = Field(
        0.0, ge=0, le=1, description="how far the spread of guided predictions is brought back"
    )

    def shape(self, data: DataSpec) -> None:
        """The denoiser must accept the data and their conditions."""
        self._check(data.event_shape, data.condition_shapes)


class DiffusionPriorSpec(_DiffusionFields):
    """A diffusion model of the latents."""

    type: Literal["diffusion"] = "diffusion"
    train_by: Literal["error", "bound"] = Field(
        "error",
        description="error: the loss, for latents that are points or stay as they are; bound: "
        "nats, so that an encoder with a density can be trained beside it",
    )

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """The denoiser must accept latents."""
        self._check(event_shape, condition or {})


class DiffusionDecoderSpec(_DiffusionFields):
    """A diffusion model of the data given the latent."""

    type: Literal["diffusion"] = "diffusion"

    def shape(self, event_shape: Shape, latent_shape: Shape) -> None:
        """The denoiser must accept the data, with the latent as a condition vector."""
        self._check(event_shape, {"vector": latent_shape})
