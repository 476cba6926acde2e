"""Specs of clouds that come with a part of them, or with a picture. No torch here."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError, ShapeError
from corekit.spec import Spec
from corekit.spec.slots import DatasetSlot


class PartialSpec(Spec):
    """Another data set of clouds, with a part of each beside it."""

    type: Literal["pointcloud.partial"] = "pointcloud.partial"
    of: DatasetSlot = Field(
        description="the clouds", examples=[{"type": "shapes3d", "points": 64, "size": 64}]
    )
    share: float = Field(0.5, gt=0, le=1, description="largest share of the points that is given")
    least: float | None = Field(
        None, gt=0, le=1, description="smallest share; always the largest one if null"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least is not None and self.least > self.share:
            raise ValueError(f"least must not exceed share = {self.share}, got {self.least}")
        return self

    def data_spec(self) -> DataSpec | None:
        """That of the clouds, with the part and its mask as conditions."""
        found: DataSpec | None = self.of.data_spec()
        if found is None:
            return None
        shapes = partial_shapes(found.event_shape, self.share)
        return replace(found, condition_shapes={**found.condition_shapes, **shapes})


class ViewsSpec(Spec):
    """Clouds of an HDF5 file, with a picture of each beside it."""

    type: Literal["pointcloud.views"] = "pointcloud.views"
    path: str = Field(description="the .npz file of pictures, relative to the current directory")
    of: DatasetSlot = Field(
        description="the clouds, of an HDF5 file",
        examples=[{"type": "pointcloud.hdf5", "path": "shapes.h5"}],
    )
    size: int = Field(64, ge=1, description="height and width of a picture")

    def data_spec(self) -> DataSpec | None:
        """That of the clouds, with a picture as a condition."""
        found: DataSpec | None = self.of.data_spec()
        if found is None:
            return None
        image = (1, self.size, self.size)
        return replace(found, condition_shapes={**found.condition_shapes, "image": image})

    def check(self) -> None:
        """The files are there."""
        if not os.path.isfile(self.path):
            raise DataError(
                f"pointcloud.views: path must name a file, got '{self.path}' "
                f"(looked in {os.getcwd()}). Give the path from the current directory, "
                "or --set data.path=FILE."
            )
        checked = getattr(self.of, "check", None)
        if checked is not None:
            checked()


def partial_shapes(event_shape: Shape, share: float) -> dict[str, Shape]:
    """Shapes of the given points and of their mask.

    Raises:
        ShapeError: If the data are no clouds.
    """
    if len(event_shape) != 2:
        raise ShapeError(
            "pointcloud.partial: the data must be clouds (points, dimensions), got "
            f"{tuple(event_shape)}."
        )
    count = max(1, round(share * event_shape[0]))
    return {"points": (count, event_shape[1]), "mask": (count,)}
