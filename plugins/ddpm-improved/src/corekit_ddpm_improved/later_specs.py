"""The specs of what came after improved diffusion: losses, schedules, EDM, VDM. No torch here."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import Shape
from corekit.spec import Spec
from corekit.spec.base import place
from corekit.spec.slots import DenoiserSlot


class VelocitySpec(Spec):
    """Squared error of the velocity: the loss of flow matching."""

    type: Literal["ddpm.velocity"] = "ddpm.velocity"


class MinSnrSpec(Spec):
    """Squared error of x_0 with a weight that is the SNR, but at most gamma."""

    type: Literal["ddpm.min_snr"] = "ddpm.min_snr"
    gamma: float = Field(5.0, gt=0, description="the largest weight of an error in x_0")
    floor: float | None = Field(
        None,
        ge=0,
        description="the smallest; if null, 1 where the schedule ends without signal, else 0",
    )

    @model_validator(mode="after")
    def _floor_fits(self) -> Self:
        if self.floor is not None and self.floor > self.gamma:
            raise ValueError(f"floor must be at most gamma = {self.gamma}, got {self.floor}")
        return self


class RectifiedSpec(Spec):
    """Straight lines between data and noise."""

    type: Literal["ddpm.rectified"] = "ddpm.rectified"
    shift: float = Field(
        1.0, gt=0, description="above 1, a sampler's steps are smaller where there is much noise"
    )


class EdmSigmasSpec(Spec):
    """Noise that is added to the data as they are, up to many times their size."""

    type: Literal["ddpm.edm_sigmas"] = "ddpm.edm_sigmas"
    sigma_min: float = Field(0.002, gt=0, description="the last noise before clean data")
    sigma_max: float = Field(80.0, gt=0, description="the most noise")
    rho: float = Field(7.0, ge=1, description="how much finer the steps are at low noise")

    @model_validator(mode="after")
    def _sigmas_rise(self) -> Self:
        if not self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min must be below sigma_max, got {self.sigma_min} and {self.sigma_max}"
            )
        return self


class EdmSpec(Spec):
    """A network whose input and target have unit variance at every noise level."""

    type: Literal["ddpm.edm"] = "ddpm.edm"
    net: DenoiserSlot = Field(
        description="the network; what it says that it predicts does not matter",
        examples=[{"type": "ddpm.mlp"}],
    )
    sigma_data: float = Field(0.5, gt=0, description="standard deviation of the data")

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """What the network takes."""
        with place("net"):
            self.net.shape(
                event_shape=event_shape,
                condition_shapes=condition_shapes,
                out_channels=out_channels,
            )


class EdmLossSpec(Spec):
    """Squared error of what the network of EDM says."""

    type: Literal["ddpm.edm_loss"] = "ddpm.edm_loss"
    sigma_data: float = Field(
        0.5, gt=0, description="standard deviation of the data, as of the denoiser"
    )


class VdmScheduleSpec(Spec):
    """A log-SNR that falls in a straight line."""

    type: Literal["ddpm.vdm_schedule"] = "ddpm.vdm_schedule"
    gamma_min: float = Field(-13.3, description="minus the log-SNR at time 0")
    gamma_max: float = Field(5.0, description="minus the log-SNR at time 1")

    @model_validator(mode="after")
    def _gammas_rise(self) -> Self:
        if not self.gamma_min < self.gamma_max:
            raise ValueError(
                f"gamma_min must be below gamma_max, got {self.gamma_min} and {self.gamma_max}"
            )
        return self


class VdmSpec(Spec):
    """The variational bound in continuous time, in bits per dimension."""

    type: Literal["ddpm.vdm"] = "ddpm.vdm"
