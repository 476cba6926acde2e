"""The spec of clouds of a folder of meshes. No torch here."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError
from corekit.spec import Spec
from corekit_pointcloud_diffusion.specs import ScaleMode


class MeshesSpec(Spec):
    """Points on the surfaces of the meshes below a folder: .off, .obj, .ply, .stl."""

    type: Literal["pointcloud.meshes"] = "pointcloud.meshes"
    path: str = Field(description="the folder, relative to the current directory")
    points: int = Field(2048, ge=1, description="points of one example, uniform by area")
    scale: ScaleMode = Field("shape_unit", description="how clouds are centred and scaled")
    seed: int = Field(0, ge=0, description="another seed, other points of the same shapes")
    held_out: float = Field(
        0.1, ge=0, lt=0.5, description="share of a class held out where there are no splits"
    )
    labels: bool = Field(False, description="hand the number of the class on as a condition")
    source: str | None = Field(None, description="recorded with the run: where the data are from")
    licence: str | None = Field(
        None, description="recorded with the run; else what a file LICENSE in the folder says"
    )

    def data_spec(self) -> DataSpec:
        """The shape of one example."""
        conditions: dict[str, Shape] = {"labels": ()} if self.labels else {}
        return DataSpec((self.points, 3), condition_shapes=conditions)

    def check(self) -> None:
        """The folder is there."""
        if not os.path.isdir(self.path):
            raise DataError(
                f"pointcloud.meshes: path must name a folder, got '{self.path}' "
                f"(looked in {os.getcwd()}). Give the path from the current directory, "
                "or --set data.path=FOLDER."
            )
