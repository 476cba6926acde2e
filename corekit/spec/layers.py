"""Specs of the layers that most flows share: normalisation, shapes, matrices, fixed functions."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.flows import thread
from corekit.spec.slots import BijectorSlot, NetworkSlot, OneOrMany

SPLIT_BOUND = "bound on |log standard deviation| of what leaves, nats; null for none"


class _KeepsShape(Spec):
    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class ActNormSpec(_KeepsShape):
    """A shift and a scale per feature or channel that start from data."""

    type: Literal["actnorm"] = "actnorm"
    unbiased: bool = Field(False, description="divide the variance by n - 1 instead of n")
    scale: float = Field(1.0, gt=0, description="standard deviation of what it makes at first")
    eps: float = Field(0.0, ge=0, description="added to the standard deviation of the data")
    floor: float = Field(
        1e-6, gt=0, description="a channel with a smaller standard deviation is only centred"
    )


class SqueezeSpec(Spec):
    """Blocks of pixels become channels."""

    type: Literal["squeeze"] = "squeeze"
    factor: int = Field(2, ge=2, description="side of a block")
    order: Literal["channels", "offsets", "corners"] = Field(
        "channels",
        description="of the new channels: those of a channel side by side, those of a place in the "
        "block side by side, or as in the authors' RealNVP",
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """Fewer pixels, more channels."""
        f = self.factor
        if len(event_shape) != 3 or event_shape[1] % f or event_shape[2] % f:
            raise ShapeError(
                f"squeeze: the event must be (channels, height, width) with sides that are "
                f"multiples of {f}, got {tuple(event_shape)}."
            )
        channels, height, width = event_shape
        return channels * f * f, height // f, width // f

    def before(self, latent_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The event that becomes this shape: what ``inverse`` gives."""
        f = self.factor
        if len(latent_shape) != 3 or latent_shape[0] % (f * f):
            raise ShapeError(
                f"squeeze: backwards, the event must be (channels, height, width) with a number of "
                f"channels that is a multiple of {f * f}, got {tuple(latent_shape)}."
            )
        channels, height, width = latent_shape
        return channels // (f * f), height * f, width * f


class FlattenSpec(Spec):
    """Any event as a vector."""

    type: Literal["flatten"] = "flatten"

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """One axis."""
        return (math.prod(event_shape),)


class PermuteSpec(_KeepsShape):
    """The features or channels in another, fixed order."""

    type: Literal["permute"] = "permute"
    order: Literal["reverse", "random", "roll"] | tuple[int, ...] = Field(
        "reverse", description="reverse, random, roll, or which one comes at each place"
    )
    seed: int = Field(0, ge=0, description="of the random order")
    shift: int = Field(1, description="how far roll moves each")


class LuLinearSpec(_KeepsShape):
    """An invertible matrix by its triangular factors, over features or channels."""

    type: Literal["lu_linear"] = "lu_linear"
    bias: bool = Field(True, description="add a learned vector")
    start: Literal["rotation", "identity"] = Field(
        "rotation", description="a random rotation, or the identity"
    )


class HouseholderSpec(_KeepsShape):
    """A product of reflections of the features or channels."""

    type: Literal["householder"] = "householder"
    reflections: int | None = Field(
        None, ge=1, description="how many; as many as features or channels if null"
    )


class LogitSpec(_KeepsShape):
    """The unit interval to the real line, with a margin."""

    type: Literal["logit"] = "logit"
    alpha: float = Field(0.05, ge=0, lt=0.5, description="margin to 0 and 1")
    sides: Literal["both", "lower"] = Field("both", description="where there is a margin")


class SigmoidSpec(_KeepsShape):
    """The real line to the unit interval."""

    type: Literal["sigmoid"] = "sigmoid"


class TanhSpec(_KeepsShape):
    """The real line to [-1, 1]."""

    type: Literal["tanh"] = "tanh"


class SoftplusSpec(_KeepsShape):
    """The real line to the positive numbers, log(1 + exp x)."""

    type: Literal["softplus"] = "softplus"


class ExpSpec(_KeepsShape):
    """The real line to the positive numbers, exp x."""

    type: Literal["exp"] = "exp"


class LeakyReluSpec(_KeepsShape):
    """Two slopes: 1 above zero, another below."""

    type: Literal["leaky_relu"] = "leaky_relu"
    slope: float = Field(0.01, gt=0, description="below zero")


class SplitSpec(Spec):
    """One half leaves as standard normal numbers, given the other, which goes on."""

    type: Literal["split"] = "split"
    of: BijectorSlot | None = Field(
        None, description="where the other half goes on; nowhere if null"
    )
    net: NetworkSlot | None = Field(
        None, description="from the other half to mean and deviation; perceptron or convnet if null"
    )
    max_log_scale: float | None = Field(7.0, gt=0, description=SPLIT_BOUND)

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector of all numbers."""
        if not event_shape or event_shape[0] < 2:
            raise ShapeError(
                "split: the event must have at least 2 features or channels to divide, got "
                f"{tuple(event_shape)}."
            )
        if self.of is not None:
            with place("of"):
                kept = ((event_shape[0] + 1) // 2, *event_shape[1:])
                self.of.shape(event_shape=kept, context_shape=context_shape)
        return (math.prod(event_shape),)


class MultiScaleSpec(Spec):
    """The same layers at several levels, with a split after each but the last."""

    type: Literal["multiscale"] = "multiscale"
    levels: int = Field(ge=1, description="how many", examples=[2])
    of: Annotated[list[BijectorSlot], OneOrMany("bijector")] = Field(
        min_length=1,
        description="the layers of one level, built anew at each",
        examples=["actnorm"],
    )
    net: NetworkSlot | None = Field(
        None, description="of the splits; perceptron or convnet if null"
    )
    max_log_scale: float | None = Field(7.0, gt=0, description=SPLIT_BOUND)
    top: BijectorSlot | None = Field(
        None, description="one more layer behind those of the deepest level"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector of all numbers."""
        shape: Shape | None = event_shape
        for level in range(self.levels):
            shape = (
                None if shape is None else thread(self.of, shape, context_shape, first=not level)
            )
            if shape is None or level == self.levels - 1:
                break
            if not shape or shape[0] < 2:
                raise ShapeError(
                    f"multiscale: each level must leave at least 2 features or channels to divide, "
                    f"got {shape} at level {level + 1}. Use fewer levels."
                )
            shape = ((shape[0] + 1) // 2, *shape[1:])
        return (math.prod(event_shape),)
