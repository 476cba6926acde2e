"""Specs of the data sets in core."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import DataSpec, Support
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
    resample: bool = Field(
        True, description="random points of a shape at each reading, else the same ones"
    )

    def data_spec(self) -> DataSpec:
        """Clouds of (points, 3)."""
        return DataSpec((self.points, 3), size=self.size)


class Toy1dSpec(Spec):
    """Numbers from a density on the line, drawn by corekit itself."""

    type: Literal["toy1d"] = "toy1d"
    density: Literal["mixture", "uniform", "triangular", "ripples"] = Field(
        "mixture", description="which density"
    )
    size: int = Field(10_000, ge=1, description="number of training points")
    held_out: int = Field(2_000, ge=1, description="number of points in each of the other splits")
    noise: float = Field(1.0, gt=0, description="scales the density; of mixture its widths")
    seed: int = Field(0, ge=0, description="which points")
    fresh: bool = Field(
        False, description="draw each training point anew each time: as many as there are steps"
    )

    def data_spec(self) -> DataSpec:
        """Numbers (1,)."""
        return DataSpec((1,), size=self.size)


class Shapes2dSpec(Spec):
    """Small black and white pictures of one shape, drawn by corekit itself."""

    type: Literal["shapes2d"] = "shapes2d"
    side: int = Field(20, ge=8, description="height and width in pixels")
    size: int = Field(10_000, ge=1, description="number of training pictures")
    held_out: int = Field(2_000, ge=1, description="number of pictures in each of the other splits")
    labels: bool = Field(False, description="hand on the kind of the shape")
    seed: int = Field(0, ge=0, description="which pictures")

    def data_spec(self) -> DataSpec:
        """Pictures (1, side, side) of two levels."""
        return DataSpec(
            (1, self.side, self.side),
            support=Support.UNIT_INTERVAL,
            levels=2,
            bin_width=1.0,
            size=self.size,
            condition_shapes={"labels": ()} if self.labels else {},
            lowest=0.0,
        )


class Toy2dSpec(Spec):
    """Points in the plane from a classic density, drawn by corekit itself."""

    type: Literal["toy2d"] = "toy2d"
    density: Literal[
        "moons", "checkerboard", "eight_gaussians", "rings", "smiley", "pinwheel", "spirals"
    ] = Field("moons", description="which density")
    size: int = Field(10_000, ge=1, description="number of training points")
    held_out: int = Field(2_000, ge=1, description="number of points in each of the other splits")
    noise: float = Field(
        1.0, gt=0, description="scales the customary width of the lines; none in checkerboard"
    )
    seed: int = Field(0, ge=0, description="which points")

    fresh: bool = Field(
        False, description="draw each training point anew each time: as many as there are steps"
    )

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
