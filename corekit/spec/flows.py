"""Specs of core's bijectors and of the priors that need no diffusion."""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import BijectorSlot, OneOrMany, PriorSlot, StochasticSlot


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

    def before(self, latent_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The event that becomes this shape."""
        return thread_back(self.of, latent_shape, context_shape)


class InverseSpec(Spec):
    """A bijector run backwards."""

    type: Literal["inverse"] = "inverse"
    of: BijectorSlot = Field(description="the bijector to invert", examples=["linear"])

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape | None:
        """What the bijector takes to make this shape, where that is known."""
        with place("of"):
            shape = shape_before(self.of, event_shape, context_shape)
            made = self.of.shape(event_shape=shape, context_shape=context_shape)
        return shape if made == event_shape else None

    def before(self, latent_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """What the bijector makes."""
        shape = self.of.shape(event_shape=latent_shape, context_shape=context_shape)
        return latent_shape if shape is None else tuple(shape)


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

    def before(self, latent_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The event that becomes this shape."""
        return thread_back(self.of * self.times, latent_shape, context_shape)


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


def shape_before(member: Spec, latent_shape: Shape, context_shape: Shape | None) -> Shape:
    """The event shape of which a bijector makes this one: the same, unless its spec says more."""
    before = getattr(member, "before", None)
    return latent_shape if before is None else tuple(before(latent_shape, context_shape))


def thread_back(members: list[Spec], latent_shape: Shape, context_shape: Shape | None) -> Shape:
    """The event shape of which a chain of bijectors makes this one."""
    for index in reversed(range(len(members))):
        with place("of", index):
            latent_shape = shape_before(members[index], latent_shape, context_shape)
    return latent_shape


class LinearSpec(Spec):
    """An invertible matrix over the features, or over the channels of an image, with a bias."""

    type: Literal["linear"] = "linear"
    bias: bool = Field(True, description="add a learned vector")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class NormalSpec(Spec):
    """The standard normal distribution."""

    type: Literal["normal"] = "normal"
    support: ClassVar[Support | None] = Support.REAL
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
    classes: int | None = Field(
        None,
        ge=1,
        description="number of classes of the labels, which then condition the bijector, one-hot "
        "before the vector if there is one; null leaves labels aside",
    )
    train_by: Literal["likelihood", "flow_matching", "denoising"] = Field(
        "likelihood",
        description="flow_matching needs a bijector with a velocity, denoising one that is a "
        "diffusion",
    )
    sample_by: Literal["inversion", "components"] = Field(
        "inversion",
        description="how the base's draws become samples; components draws a component, then "
        "from it, for a flow that ends in autoregressive mixtures",
    )

    def _check(self, event_shape: Shape, condition: Any) -> None:
        conditions = condition or {}
        context_shape = conditions.get("vector")
        if self.classes is not None:
            if "labels" not in conditions:
                raise ShapeError(
                    "flow: classes must be of data with labels, got the conditions "
                    f"{', '.join(conditions) or 'none'}. Let the data hand on labels."
                )
            context_shape = (self.classes + math.prod(context_shape or (0,)),)
        with place("bijector"):
            latent_shape = self.bijector.shape(event_shape=event_shape, context_shape=context_shape)
        if latent_shape is not None:
            with place("base", given_by="bijector"):
                self.base.shape(event_shape=tuple(latent_shape), condition=condition)


class FlowModelSpec(_FlowFields):
    """A normalizing flow over the data."""

    type: Literal["flow"] = "flow"
    dequantize: StochasticSlot | None = Field(
        None,
        description="what makes real numbers of quantised data, and the likelihood a probability "
        "of their levels; null models a density",
    )
    surjection: StochasticSlot | None = Field(
        None,
        description="what then adds numbers to the data or takes some away (realnvp.augment, "
        "realnvp.slice); null leaves them",
    )

    def shape(self, data: DataSpec) -> None:
        """The data pass the bijector, what comes out must fit the base."""
        conditions = data.condition_shapes
        context_shape, event_shape = conditions.get("vector"), data.event_shape
        for name, part in (("dequantize", self.dequantize), ("surjection", self.surjection)):
            if part is None:
                continue
            with place(name):
                found: Shape | None = part.shape(data=data, context_shape=context_shape)
            if found is None:
                return  # it does not say
            event_shape = tuple(found)
            data = DataSpec(event_shape, condition_shapes=conditions)
        self._check(tuple(event_shape), conditions)


class FlowPriorSpec(_FlowFields):
    """A normalizing flow as the prior of latents, or as any other density."""

    type: Literal["flow"] = "flow"

    def shape(self, event_shape: Shape, condition: Any = None) -> None:
        """The event passes the bijector, what comes out must fit the base."""
        self._check(event_shape, condition)
