"""Specs of core's bijectors and of the priors that need no diffusion."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import BijectorSlot, OneOrMany, PriorSlot


class ChainSpec(Spec):
    """Bijectors one after another, the first nearest to the data."""

    type: Literal["chain"] = "chain"
    of: list[BijectorSlot] = Field(
        min_length=1,
        description="the bijectors in the order that data pass them",
        examples=[["linear", "linear"]],
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape | None:
        """Each member takes the shape that the one before gave."""
        return thread(self.of, event_shape, context_shape)


class InverseSpec(Spec):
    """A bijector run backwards."""

    type: Literal["inverse"] = "inverse"
    of: BijectorSlot = Field(description="the bijector to invert", examples=["linear"])

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape | None:
        """Known where the bijector keeps the shape."""
        with place("of"):
            inner = self.of.shape(event_shape=event_shape, context_shape=context_shape)
        return event_shape if inner == event_shape else None


class RepeatSpec(Spec):
    """The same bijectors again and again, built anew each time with weights of their own."""

    type: Literal["repeat"] = "repeat"
    times: int = Field(ge=1, description="how often", examples=[4])
    of: Annotated[list[BijectorSlot], OneOrMany("bijector")] = Field(
        min_length=1,
        description="one bijector, or a list that is repeated as a whole",
        examples=["linear"],
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape | None:
        """Each copy takes the shape that the one before gave."""
        shape: Shape | None = event_shape
        for turn in range(self.times):
            if shape is None:
                return None
            shape = thread(self.of, shape, context_shape, first=turn == 0)
        return shape


def thread(
    members: list[Spec], event_shape: Shape, context_shape: Shape | None, *, first: bool = True
) -> Shape | None:
    """Pass a shape through `members`, the field `of` of a spec; None once it is unknown."""
    shape = event_shape
    for index, member in enumerate(members):
        before = None if first and index == 0 else ("of", (index - 1) % len(members))
        with place("of", index, given_by=before):
            latent_shape = member.shape(event_shape=shape, context_shape=context_shape)
        if latent_shape is None:
            return None
        shape = tuple(latent_shape)
    return shape


class LinearSpec(Spec):
    """An invertible matrix over the features, with a bias."""

    type: Literal["linear"] = "linear"
    bias: bool = Field(True, description="add a learned vector")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector stays a vector."""
        if len(event_shape) != 1:
            raise ShapeError(f"linear: the event must be a vector (features,), got {event_shape}.")
        return event_shape


class NormalSpec(Spec):
    """The standard normal distribution."""

    type: Literal["normal"] = "normal"
    features: int | None = Field(
        None, ge=1, description="number of features; only checked against the latent's, if given"
    )

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """`features`, where given, must be the number of values of an event."""
        width = math.prod(event_shape)
        if self.features not in (None, width):
            raise ShapeError(
                f"normal: features must be {width} for the event shape {event_shape},"
                f" got {self.features}. Leave it out: it is inferred.",
                path=("features",),
            )


class _FlowFields(Spec):
    bijector: BijectorSlot = Field(
        description="the invertible map from data to noise",
        examples=[{"type": "repeat", "times": 4, "of": "linear"}],
    )
    base: PriorSlot = Field(
        default_factory=NormalSpec, description="the density of what the bijector gives"
    )

    def _check(self, event_shape: Shape, condition: Any) -> None:
        with place("bijector"):
            latent_shape = self.bijector.shape(event_shape=event_shape, context_shape=None)
        if latent_shape is not None:
            with place("base", given_by="bijector"):
                self.base.shape(event_shape=tuple(latent_shape), condition=condition)


class FlowModelSpec(_FlowFields):
    """A normalizing flow over the data."""

    type: Literal["flow"] = "flow"

    def shape(self, data: DataSpec) -> None:
        """The data pass the bijector, what comes out must fit the base."""
        self._check(data.event_shape, None)


class FlowPriorSpec(_FlowFields):
    """A normalizing flow as the prior of latents, or as any other density."""

    type: Literal["flow"] = "flow"

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """The event passes the bijector, what comes out must fit the base."""
        self._check(event_shape, condition)
