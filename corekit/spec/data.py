"""Specs of the data sets in core."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import DataSpec
from corekit.spec.base import Spec

# How a point cloud is moved and scaled; the modes of diffusion-point-cloud.
ScaleMode = Literal["global_unit", "shape_unit", "shape_bbox", "shape_half", "shape_34", "none"]


class Shapes3dSpec(Spec):
    """Point clouds of shapes that corekit draws itself, the same for the same seed."""

    type: Literal["shapes3d"] = "shapes3d"
    categories: tuple[str, ...] = Field(
        ("aeroplane", "chair"), min_length=1, description="which shapes"
    )
    points: int = Field(512, ge=1, description="points per cloud")
    size: int = Field(1024, ge=1, description="number of training clouds")
    held_out: int = Field(64, ge=1, description="number of clouds in each of the other splits")
    scale: ScaleMode = Field("shape_unit", description="how a cloud is centred and scaled")
    seed: int = Field(0, ge=0, description="which clouds")

    def data_spec(self) -> DataSpec:
        """Clouds of (points, 3)."""
        return DataSpec((self.points, 3), size=self.size)


class Toy2dSpec(Spec):
    """Points in the plane from a classic density, drawn by corekit itself."""

    type: Literal["toy2d"] = "toy2d"
    density: Literal["moons", "checkerboard", "eight_gaussians", "rings", "pinwheel", "spirals"] = (
        Field("moons", description="which density")
    )
    size: int = Field(10_000, ge=1, description="number of training points")
    held_out: int = Field(2_000, ge=1, description="number of points in each of the other splits")
    noise: float = Field(
        1.0, gt=0, description="scales the customary width of the lines; none in checkerboard"
    )
    seed: int = Field(0, ge=0, description="which points")

    @model_validator(mode="after")
    def _only_with_noise(self) -> Self:
        if self.density == "checkerboard" and self.noise != 1:
            raise ValueError(
                f"noise must be left out with density checkerboard, which has none,"
                f" got {self.noise}"
            )
        return self

    def data_spec(self) -> DataSpec:
        """Points (2,)."""
        return DataSpec((2,), size=self.size)
