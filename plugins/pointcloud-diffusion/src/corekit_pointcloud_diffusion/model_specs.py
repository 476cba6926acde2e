"""Specs of networks in which points interact, or that look at pictures. No torch here."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec

Width = Annotated[int, Field(ge=1)]


class SetTransformerSpec(Spec):
    """Points that see each other by way of a few tokens."""

    type: Literal["pointcloud.set_transformer"] = "pointcloud.set_transformer"
    hidden: int = Field(64, ge=1, description="width of a point; a multiple of the heads")
    tokens: int = Field(64, ge=1, description="learned tokens that points write to and read from")
    width: int = Field(
        128, ge=2, multiple_of=2, description="width of a token; a multiple of the heads"
    )
    depth: int = Field(4, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="heads of attention")
    frequencies: int = Field(
        4, ge=0, description="sines and cosines of the coordinates times 1, 2, 4, ..."
    )
    classes: int | None = Field(None, ge=1, description="number of classes, if labels condition it")
    variance: Literal["fixed", "log", "range"] = Field(
        "fixed", description="what a second half of the output says of the variance"
    )
    predicts: Literal["eps", "x_0", "v", "velocity", "x_prev"] = Field(
        "eps", description="what the output is"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads or self.width % self.heads:
            raise ValueError(
                f"heads must divide hidden = {self.hidden} and width = {self.width}, got "
                f"{self.heads}"
            )
        return self

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """A cloud in, a cloud out."""
        if len(event_shape) != 2:
            raise ShapeError(
                f"{self.type}: the event must be (points, dimensions), got {tuple(event_shape)}."
            )
        points, mask = condition_shapes.get("points"), condition_shapes.get("mask")
        if (points is None) != (mask is None) or (points and points[1:] != event_shape[1:]):
            raise ShapeError(
                f"{self.type}: given points must be (K, {event_shape[1]}) with a mask (K,), got "
                f"{points} and {mask}."
            )
        check_labels(self.type, self.classes, condition_shapes)


def check_labels(who: str, classes: int | None, condition_shapes: Mapping[str, Shape]) -> None:
    """Refuse classes of data without labels.

    Raises:
        ShapeError: In words that name the component.
    """
    if classes is not None and "labels" not in condition_shapes:
        raise ShapeError(
            f"{who}: classes must meet data with labels, got {classes} and none. "
            "Let the data set give labels, or leave classes out."
        )


class PictureSpec(Spec):
    """A small convolutional network from a picture to a vector."""

    type: Literal["pointcloud.picture"] = "pointcloud.picture"
    latent_dim: int = Field(64, ge=1, description="size of the latent")
    posterior: Literal["gaussian", "point"] = Field(
        "point", description="a point, for an embedding, or a diagonal Gaussian"
    )
    channels: tuple[Width, ...] = Field(
        (32, 64, 128, 128), description="of each convolution; each halves height and width"
    )
    hidden: int = Field(256, ge=1, description="width of the last hidden layer")

    def shape(self, event_shape: Shape) -> Shape:
        """From a picture to a vector."""
        if len(event_shape) != 3:
            raise ShapeError(f"{self.type}: the event must be (C, H, W), got {tuple(event_shape)}.")
        return (self.latent_dim,)
