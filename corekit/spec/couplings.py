"""Specs of maps of one number, of the networks that steer them, and of layers made of both."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import NetworkSlot, UnivariateSlot

Width = Annotated[int, Field(ge=1)]
Activation = Literal["relu", "silu", "gelu", "tanh", "elu", "leaky_relu"]
Split = Literal["halves", "interleaved", "checkerboard", "rows", "columns"]
SPLIT = "which part is kept: the first half of the features or channels, every other one, or, of "
SPLIT += "images, every other pixel, the upper rows, the left columns"


class AffineSpec(Spec):
    """A scale and a shift for every element."""

    type: Literal["affine"] = "affine"
    scale: Literal["exp", "sigmoid2", "softplus", "softclip"] = Field(
        "exp", description="how a raw parameter becomes a scale"
    )
    max_log_scale: float | None = Field(
        2.0, gt=0, description="bound on |log scale| of exp and softclip, nats; null for none"
    )
    floor: float | None = Field(
        None,
        ge=0,
        description="added to the scale of sigmoid2 and softplus; 0 and 0.001 if null",
    )


class AdditiveSpec(Spec):
    """A shift of every element."""

    type: Literal["additive"] = "additive"


class MlpSpec(Spec):
    """A multilayer perceptron."""

    type: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = Field((128, 128), description="width of each hidden layer")
    activation: Activation = Field("relu", description="between the layers")
    zero_last: bool = Field(True, description="whether a new network gives zeros")
    spectral_norm: bool = Field(
        False,
        description="divide the weights of each layer by their largest singular value; needs "
        "zero_last: false",
    )

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.spectral_norm and self.zero_last:
            raise ValueError("zero_last must be false with spectral_norm, got true")
        return self


class ConvNetSpec(Spec):
    """A 3x3, a 1x1 and a 3x3 convolution."""

    type: Literal["convnet"] = "convnet"
    hidden: int = Field(128, ge=1, description="channels of the two hidden layers")
    activation: Activation = Field("relu", description="between the layers")
    zero_last: bool = Field(True, description="whether a new network gives zeros")

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        if len(in_shape) != 3:
            raise ShapeError(
                f"convnet: the input must be (channels, height, width), got {tuple(in_shape)}."
            )


class ElementwiseSpec(Spec):
    """The same kind of map of every element, with parameters of its own each."""

    type: Literal["elementwise"] = "elementwise"
    univariate: UnivariateSlot = Field(description="the map of one number", examples=["affine"])
    net: NetworkSlot | None = Field(
        None, description="from a context to the parameters; a perceptron if null"
    )
    shared: bool = Field(
        False, description="one set of parameters for all positions behind the first axis"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        if self.shared and len(event_shape) < 2:
            raise ShapeError(
                "elementwise: shared parameters must have an axis of features and more behind it, "
                f"got {tuple(event_shape)}.",
                path=("shared",),
            )
        return event_shape


class CouplingSpec(Spec):
    """Move one part of an event by a map whose parameters a network computes from the rest."""

    type: Literal["coupling"] = "coupling"
    univariate: UnivariateSlot = Field(
        default_factory=AffineSpec, description="the map of one number"
    )
    net: NetworkSlot | None = Field(
        None, description="from the kept part to the parameters; a perceptron or convnet if null"
    )
    split: Split | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        "halves", description=f"{SPLIT}; or a list of the features or channels that are kept"
    )
    swap: bool = Field(False, description="exchange the two parts; alternate it along a chain")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be something to divide."""
        check_split("coupling", self.split, event_shape)
        if self.net is not None:
            with place("net"):
                kept, moved = _parts(self.split, event_shape, swap=self.swap)
                self.net.shape(in_shape=kept, out_shape=(1, *moved), context_shape=context_shape)
        return event_shape


def check_split(who: str, split: Split | tuple[int, ...], event_shape: Shape) -> None:
    """Refuse an event that a split does not divide.

    Raises:
        ShapeError: In words that name the component.
    """
    if not isinstance(split, str):
        features = event_shape[0] if event_shape else 0
        if not 0 < len({*split} & {*range(features)}) == len(split) < features:
            raise ShapeError(
                f"{who}: a list of what is kept must name some, not all, of the features or "
                f"channels, each once, got {list(split)} for the event shape {tuple(event_shape)}."
            )
    elif split in ("halves", "interleaved"):
        if not event_shape or event_shape[0] < 2:
            raise ShapeError(
                f"{who}: the event must have at least 2 features or channels to split, got "
                f"{tuple(event_shape)}."
            )
    elif len(event_shape) != 3:
        raise ShapeError(
            f"{who}: the split '{split}' must have an image (channels, height, width), got "
            f"{tuple(event_shape)}."
        )


def _parts(
    split: Split | tuple[int, ...], event_shape: Shape, *, swap: bool
) -> tuple[Shape, Shape]:
    if isinstance(split, str) and split not in ("halves", "interleaved"):
        return event_shape, event_shape
    features, rest = event_shape[0], event_shape[1:]
    first = (features + 1) // 2 if isinstance(split, str) else len(split)
    sizes = (first, features - first)
    kept, moved = sizes[::-1] if swap else sizes
    return (kept, *rest), (moved, *rest)
