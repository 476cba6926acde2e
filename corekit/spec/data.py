"""Specs of the data sets in core."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import DataSpec, Shape, Support, pixel_spec
from corekit.errors import ShapeError
from corekit.spec.base import Spec
from corekit.spec.slots import DatasetSlot

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
    labels: bool = Field(False, description="hand on the kind of the shape")

    def data_spec(self) -> DataSpec:
        """Clouds of (points, 3)."""
        shapes: dict[str, Shape] = {"labels": ()} if self.labels else {}
        return DataSpec((self.points, 3), size=self.size, condition_shapes=shapes)


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


class Shapes32Spec(Spec):
    """Colour pictures of one shape, drawn by corekit itself, and the numbers that made them."""

    type: Literal["shapes32"] = "shapes32"
    side: int = Field(32, ge=8, description="height and width in pixels")
    size: int = Field(10_000, ge=1, description="number of training pictures")
    held_out: int = Field(2_000, ge=1, description="number of pictures in each of the other splits")
    labels: bool = Field(False, description="hand on the kind of the shape")
    factors: bool = Field(False, description="hand on hue, size, x, y and rotation as a vector")
    value_range: tuple[float, float] = Field((-1.0, 1.0), description="what black and white are")
    seed: int = Field(0, ge=0, description="which pictures")

    @model_validator(mode="after")
    def _range_rises(self) -> Self:
        low, high = self.value_range
        if not low < high:
            raise ValueError(f"value_range must rise, got {low} and {high}")
        return self

    def data_spec(self) -> DataSpec:
        """Pictures (3, side, side) of 256 levels."""
        vector = {"vector": (5,)} if self.factors else {}
        labels: dict[str, Shape] = {"labels": ()} if self.labels else {}
        return pixel_spec(
            (3, self.side, self.side),
            self.value_range,
            size=self.size,
            condition_shapes={**vector, **labels},
        )


class LowResSpec(Spec):
    """Another data set of images, with a smaller copy of each beside it."""

    type: Literal["low_res"] = "low_res"
    of: DatasetSlot = Field(description="the images", examples=[{"type": "shapes32"}])
    factor: int = Field(2, ge=2, description="pixels of a side that become one")

    def data_spec(self) -> DataSpec | None:
        """That of the images, with the smaller one as a condition."""
        found: DataSpec | None = self.of.data_spec()
        if found is None:
            return None
        channels, *sides = found.event_shape
        if len(sides) != 2 or any(side % self.factor for side in sides):
            raise ShapeError(
                f"low_res: the data must be images (C, H, W) of sides that {self.factor} divides, "
                f"got {tuple(found.event_shape)}."
            )
        image = (channels, *(side // self.factor for side in sides))
        return replace(found, condition_shapes={**found.condition_shapes, "image": image})


class DigitsSpec(Spec):
    """The handwritten digits of scikit-learn: 1,797 real images of 8 x 8."""

    type: Literal["digits"] = "digits"
    labels: bool = Field(False, description="hand on the class, 0 to 9")
    validate_on: bool = Field(
        False, description="leave 180 of the training digits out of them, as the split val"
    )

    def data_spec(self) -> DataSpec:
        """Images (1, 8, 8) of 17 levels in [0, 1]."""
        return DataSpec(
            (1, 8, 8),
            support=Support.UNIT_INTERVAL,
            levels=17,
            bin_width=1 / 16,
            size=1257 if self.validate_on else 1437,
            condition_shapes={"labels": ()} if self.labels else {},
            lowest=0.0,
        )


class BinarizedSpec(Spec):
    """Another data set of gray images, black and white."""

    type: Literal["binarized"] = "binarized"
    of: DatasetSlot = Field(description="the images", examples=[{"type": "shapes32"}])
    how: Literal["dynamic", "fixed", "threshold"] = Field(
        "dynamic",
        description="training examples drawn anew at each visit and held-out ones once; all once; "
        "or 1 where above the middle",
    )
    seed: int = Field(0, ge=0, description="of what is drawn once")

    def data_spec(self) -> DataSpec | None:
        """That of the images, with two levels."""
        found: DataSpec | None = self.of.data_spec()
        if found is None:
            return None
        if found.levels is None and found.support is not Support.UNIT_INTERVAL:
            raise ShapeError(
                "binarized: the data must have levels, or lie on the unit interval, got support "
                f"'{found.support.value}' without levels. Images of 8 bits have them."
            )
        support = Support.UNIT_INTERVAL
        two = replace(found, levels=2, bin_width=1.0, lowest=0.0, support=support)
        return replace(two, mean=None, std=None)


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
