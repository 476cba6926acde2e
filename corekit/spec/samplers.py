"""Specs of the solvers of the probability flow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.spec.base import Spec


class _OnGridFields(Spec):
    steps: int | None = Field(
        None, ge=1, description="number of steps; 20 if null, or all levels of a smaller table"
    )
    grid: Literal["arctan", "even", "karras", "log_snr"] = Field(
        "arctan",
        description="which levels are visited: evenly in arctan(sigma / alpha), in time, in "
        "(sigma / alpha)^(1 / rho), in log(sigma / alpha)",
    )
    rho: float = Field(7.0, gt=0, description="how dense the karras grid is near the data")
    sigma_min: float = Field(
        0.002, gt=0, description="lowest sigma / alpha of the karras and log_snr grids"
    )
    sigma_max: float = Field(
        10.0, gt=0, description="their highest, after a first step from the noisiest level"
    )

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if self.sigma_min >= self.sigma_max:
            raise ValueError("sigma_min must be below sigma_max")
        return self


class DpmSolverSpec(_OnGridFields):
    """DPM-Solver++: good samples in 10 to 20 steps of one denoiser call."""

    type: Literal["dpm_solver"] = "dpm_solver"
    order: Literal[1, 2] = Field(2, description="order of accuracy; 1 is ddim on this grid")
    multistep: bool = Field(True, description="2M, which looks back a step; else 2S, of two halves")


class UniPcSpec(_OnGridFields):
    """UniPC-2: a multistep solver that corrects each step without another denoiser call."""

    type: Literal["unipc"] = "unipc"
    b: Literal["bh1", "bh2"] = Field("bh2", description="B(h) of the paper: h, or 1 - exp(-h)")


class EulerSpec(_OnGridFields):
    """Euler's method in sigma / alpha, on the grid of Karras et al."""

    type: Literal["euler"] = "euler"
    grid: Literal["arctan", "even", "karras", "log_snr"] = Field(
        "karras", description="which levels are visited, as of dpm_solver"
    )


class HeunSpec(_OnGridFields):
    """Heun's method in sigma / alpha, of second order: two denoiser calls per step."""

    type: Literal["heun"] = "heun"
    grid: Literal["arctan", "even", "karras", "log_snr"] = Field(
        "karras", description="which levels are visited, as of dpm_solver"
    )
