"""The spec of each component. No torch here."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError, ShapeError
from corekit.spec import Spec
from corekit_pointcloud_diffusion.model_specs import check_labels

Width = Annotated[int, Field(ge=1)]
ScaleMode = Literal["global_unit", "shape_unit", "shape_bbox", "shape_half", "shape_34", "none"]


def _check_cloud(who: str, event_shape: Shape) -> None:
    if len(event_shape) != 2:
        raise ShapeError(
            f"{who}: the event must be (points, dimensions), got {tuple(event_shape)}."
        )


class PointNetSpec(Spec):
    """A feature per point, their maximum, then a posterior."""

    type: Literal["pointcloud.pointnet"] = "pointcloud.pointnet"
    latent_dim: int = Field(256, ge=1, description="size of the latent")
    posterior: Literal["gaussian", "point"] = Field(
        "gaussian", description="a diagonal Gaussian, or a point for an auto-encoder"
    )
    widths: tuple[Width, ...] = Field(
        (128, 128, 256, 512), min_length=1, description="widths of the layers applied to each point"
    )
    head: tuple[Width, ...] = Field(
        (256, 128), min_length=1, description="widths of the hidden layers of each head"
    )

    def shape(self, event_shape: Shape) -> Shape:
        """From a cloud to a vector."""
        _check_cloud(self.type, event_shape)
        return (self.latent_dim,)


class PointwiseSpec(Spec):
    """One gated perceptron for every point."""

    type: Literal["pointcloud.pointwise"] = "pointcloud.pointwise"
    hidden: tuple[Width, ...] = Field(
        (128, 256, 512, 256, 128), min_length=1, description="widths of the hidden layers"
    )
    residual: bool = Field(True, description="add x_t to the output")
    time: Literal["sinusoidal", "beta"] = Field(
        "sinusoidal", description="time features: sinusoids of the time, or the reference's beta"
    )
    classes: int | None = Field(None, ge=1, description="number of classes, if labels condition it")
    predicts: Literal["eps", "x_0", "v", "velocity"] = Field(
        "eps", description="what the output is"
    )

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """A cloud in, a cloud out."""
        _check_cloud(self.type, event_shape)
        check_labels(self.type, self.classes, condition_shapes)


class VarianceScheduleSpec(Spec):
    """Literal linear betas that reach noise."""

    type: Literal["pointcloud.variance_schedule"] = "pointcloud.variance_schedule"
    steps: int = Field(200, ge=1, description="number of noise levels T")
    beta_start: float = Field(1e-4, ge=0, lt=1, description="first beta")
    beta_end: float = Field(0.05, gt=0, lt=1, description="last beta")
    zero_terminal_snr: bool = Field(
        False, description="rescale so that the last level is pure noise"
    )


class DpmNormalSpec(Spec):
    """A standard normal whose loss has the reference's constant."""

    type: Literal["pointcloud.dpm_normal"] = "pointcloud.dpm_normal"
    features: int | None = Field(None, ge=1, description="if given, must be the latent width")


class Hdf5Spec(Spec):
    """Point clouds of an HDF5 file laid out as group / split / array (n, points, dimensions)."""

    type: Literal["pointcloud.hdf5"] = "pointcloud.hdf5"
    path: str = Field(description="the HDF5 file, relative to the current directory")
    categories: tuple[str, ...] | Literal["all"] = Field("all", description="group names, or 'all'")
    points: int = Field(2048, ge=1, description="points of one example")
    scale: ScaleMode = Field("shape_unit", description="how clouds are centred and scaled")
    resample: bool = Field(
        True, description="draw the points anew at each visit; else the first ones"
    )
    dimensions: int = Field(3, ge=1, description="coordinates of a point")
    stats: Literal["train", "all"] = Field(
        "train", description="splits that the scale of 'global_unit' is computed from"
    )
    labels: bool = Field(False, description="hand the number of the category on as a condition")

    def data_spec(self) -> DataSpec:
        """The shape of one example."""
        conditions: dict[str, Shape] = {"labels": ()} if self.labels else {}
        return DataSpec((self.points, self.dimensions), condition_shapes=conditions)

    def check(self) -> None:
        """The file is there."""
        if not os.path.isfile(self.path):
            raise DataError(
                f"pointcloud.hdf5: path must name a file, got '{self.path}' "
                f"(looked in {os.getcwd()}). Give the path from the current directory, "
                "or --set data.path=FILE."
            )


class DpmImporterSpec(Spec):
    """Reads checkpoints of diffusion-point-cloud."""

    type: Literal["pointcloud.dpm"] = "pointcloud.dpm"
    model: Literal["auto", "flow", "gaussian", "autoencoder"] = Field(
        "auto", description="what the file holds; auto tells by weights and arguments"
    )
    reference_constant: bool = Field(
        False, description="keep the reference's wrong constant in the loss of the prior"
    )
    residual: bool = Field(
        True, description="the denoiser adds its input, where the file is silent"
    )
    data_path: str = Field(
        "data/shapenet.hdf5", description="data set named in the spec, where the file is silent"
    )
