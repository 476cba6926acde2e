"""The spec of the U-Net. No torch here."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec

Positive = Annotated[int, Field(ge=1)]


class UNetSpec(Spec):
    """Residual blocks and attention on ever coarser grids, and back."""

    type: Literal["ddpm.unet"] = "ddpm.unet"
    channels: int = Field(128, ge=1, description="width of the first grid, before its multiplier")
    multipliers: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (1, 2, 2, 2), min_length=1, description="widths of the grids, each half as fine"
    )
    blocks: int = Field(2, ge=1, description="residual blocks per grid; one more on the way back")
    attention: tuple[Positive, ...] = Field(
        (2, 4), description="attention on the grids that are coarser by these factors"
    )
    heads: int = Field(4, ge=1, description="heads of attention")
    head_channels: int | None = Field(
        None, ge=1, description="channels of each head, in place of `heads`"
    )
    heads_up: int | None = Field(None, ge=1, description="heads on the way back, if others")
    dropout: float = Field(0.0, ge=0, lt=1, description="probability, inside residual blocks")
    scale_shift: bool = Field(
        True, description="the embedding scales and shifts in a block; else it is added"
    )
    resample: Literal["convolution", "average", "blocks"] = Field(
        "convolution",
        description="how grids change: with a convolution, without, or inside residual blocks",
    )
    classes: int | None = Field(None, ge=1, description="number of classes, if labels condition it")
    step_scale: float | None = Field(
        None,
        gt=0,
        description="it is told this times the integer step t; 1000 times the time if null",
    )
    variance: Literal["fixed", "log", "range"] = Field(
        "fixed",
        description="what a second half of the output says of the variance",
    )
    self_condition: bool = Field(False, description="it sees its earlier estimate of x_0 as well")
    predicts: Literal["eps", "x_0", "v", "velocity", "x_prev"] = Field(
        "eps", description="what the output is"
    )

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        widths = [round(m * self.channels) for m in self.multipliers]
        for level, width in enumerate(widths):
            deepest = level == len(widths) - 1
            if not deepest and 2**level not in self.attention:
                continue
            for heads in {self.heads, self.heads_up or self.heads}:
                over = heads if self.head_channels is None else self.head_channels
                if width % over:
                    what = "heads" if self.head_channels is None else "channels each"
                    raise ValueError(
                        f"attention over {width} channels must divide them, got {over} {what}"
                    )
        return self

    def shape(
        self, event_shape: Shape, condition_shapes: Mapping[str, Shape], out_channels: int
    ) -> None:
        """A signal, an image or a volume in, the same out."""
        if len(event_shape) not in (2, 3, 4):
            raise ShapeError(
                f"{self.type}: the event must be (C, L), (C, H, W) or (C, D, H, W), got "
                f"{tuple(event_shape)}."
            )
        if self.classes is not None and "labels" not in condition_shapes:
            raise ShapeError(
                f"{self.type}: classes must meet data with labels, got {self.classes} and none. "
                "Let the data set give labels, or leave classes out."
            )
