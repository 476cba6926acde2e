"""Specs of networks and flows over images."""

import math
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.couplings import SPLIT, Split, check_split
from corekit.spec.slots import NetworkSlot

Count = Annotated[int, Field(ge=1)]
PER = "one factor and one offset of the tanh per channel (the paper), or one for all"


class ResNetSpec(Spec):
    """A weight-normalised residual network over images."""

    type: Literal["realnvp.resnet"] = "realnvp.resnet"
    filters: int = Field(128, ge=1, description="channels inside")
    blocks: int = Field(8, ge=0, description="number of residual blocks")
    zero_last: bool = Field(True, description="whether a new network gives zeros")

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        check_image(self.type, in_shape)


class TanhCouplingSpec(Spec):
    """Scale and shift one part, the log-scale bounded by a learned multiple of tanh."""

    type: Literal["realnvp.tanh_coupling"] = "realnvp.tanh_coupling"
    net: NetworkSlot | None = Field(
        None, description="of the raw log-scale and the shift; realnvp.resnet or mlp if null"
    )
    split: Split = Field("halves", description=SPLIT)
    swap: bool = Field(False, description="exchange the two parts; alternate it along a chain")
    scale: Literal["channel", "scalar"] = Field("channel", description=PER)

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be something to divide."""
        check_split(self.type, self.split, event_shape)
        return event_shape


class RealNvpImageSpec(Spec):
    """RealNVP for images: couplings with checkerboard and channel masks, of one scale or more."""

    type: Literal["realnvp.image"] = "realnvp.image"
    filters: int = Field(128, ge=1, description="channels inside a network")
    blocks: int = Field(8, ge=0, description="residual blocks of a network")
    checkers: tuple[Count, Count] = Field(
        (4, 3), description="couplings of the first and of the last checkerboard stack"
    )
    channels: int = Field(3, ge=1, description="couplings of a channel stack")
    actnorm: Literal["between", "all", "none"] = Field(
        "between", description="between the couplings of a stack, after all of them, or none"
    )
    scale: Literal["channel", "scalar"] = Field("channel", description=PER)
    masks: Literal["checkerboard", "halves"] = Field(
        "checkerboard", description="halves of the picture are a poor choice, for comparison"
    )
    scales: int = Field(
        1, ge=1, description="more than 1: half of the channels leave after each but the last"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept, or made a vector with several scales."""
        check_image(self.type, event_shape)
        if self.masks == "halves":
            return event_shape
        _, height, width = event_shape
        times = 2 ** max(self.scales - 1, 1)
        if height % times or width % times:
            raise ShapeError(
                f"{self.type}: height and width must be multiples of {times}, got "
                f"{tuple(event_shape)}. Pad or crop the images."
            )
        return event_shape if self.scales == 1 else (math.prod(event_shape),)


class PixelCnnSpec(Spec):
    """Masked convolutions: parameters of a pixel from the pixels before it."""

    type: Literal["realnvp.pixelcnn"] = "realnvp.pixelcnn"
    filters: int = Field(64, ge=2, description="hidden channels, at least 2 per channel of x")
    layers: int = Field(5, ge=0, description="layers between the first and the last two")
    kernel: int = Field(7, ge=3, description="side of the kernels, odd")
    residual: bool = Field(
        False, description="layers that add a 1x1, a masked and a 1x1 convolution, half as wide"
    )
    channels: Literal["ordered", "independent"] = Field(
        "ordered", description="green given red, or all channels of a pixel at once"
    )
    zero_last: bool = Field(True, description="whether a new network gives zeros")

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        check_image(self.type, in_shape)


def check_image(who: str, shape: Shape) -> None:
    """Refuse what is no image.

    Raises:
        ShapeError: In words that name the component.
    """
    if len(shape) != 3:
        raise ShapeError(f"{who}: the event must be (channels, height, width), got {tuple(shape)}.")
