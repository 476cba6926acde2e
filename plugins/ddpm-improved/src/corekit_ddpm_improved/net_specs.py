"""The specs of the perceptron and of the transformer. No torch here."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec


class _Net(Spec):
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, inside residual layers")
    classes: int | None = Field(None, ge=1, description="number of classes, if labels condition it")
    variance: Literal["fixed", "log", "range"] = Field(
        "fixed",
        description="what a second half of the output says of the variance",
    )
    self_condition: bool = Field(False, description="it sees its earlier estimate of x_0 as well")
    predicts: Literal["eps", "x_0", "v", "velocity", "x_prev"] = Field(
        "eps", description="what the output is"
    )

    def _check_labels(self, condition_shapes: Mapping[str, Shape]) -> None:
        if self.classes is not None and "labels" not in condition_shapes:
            raise ShapeError(
                f"{self.type}: classes must meet data with labels, got {self.classes} and none. "
                "Let the data set give labels, or leave classes out."
            )


class MlpSpec(_Net):
    """A residual perceptron for vectors, told the noise level by scale and shift."""

    type: Literal["ddpm.mlp"] = "ddpm.mlp"
    hidden: int = Field(128, ge=8, description="width")
    depth: int = Field(3, ge=1, description="residual layers")

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """A vector in, the same out."""
        if len(event_shape) != 1:
            raise ShapeError(f"{self.type}: the event must be (D,), got {tuple(event_shape)}.")
        self._check_labels(condition_shapes)


class DiTSpec(_Net):
    """A transformer over patches, steered by the noise level."""

    type: Literal["ddpm.dit"] = "ddpm.dit"
    patch: int = Field(2, ge=1, description="side of the square patches; divides height and width")
    hidden: int = Field(128, ge=8, multiple_of=4, description="width; a multiple of the heads")
    depth: int = Field(4, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="heads of attention")
    mlp_ratio: float = Field(4.0, gt=0, description="width inside an mlp, in multiples of hidden")

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.hidden % self.heads:
            raise ValueError(f"heads must divide hidden = {self.hidden}, got {self.heads}")
        return self

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """An image of whole patches in, the same out."""
        if len(event_shape) != 3:
            raise ShapeError(f"{self.type}: the event must be (C, H, W), got {tuple(event_shape)}.")
        wrong = [side for side in event_shape[1:] if side % self.patch]
        if wrong:
            raise ShapeError(
                f"{self.type}: height and width must be multiples of the patch, got "
                f"{tuple(event_shape[1:])} and patches of {self.patch}: {wrong[0]} lacks the "
                f"factor {self.patch}. Use another patch."
            )
        self._check_labels(condition_shapes)
