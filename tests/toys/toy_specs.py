"""The specs of the toy plugin."""

import os
from typing import Literal

from pydantic import Field, create_model

from corekit.data_spec import DataSpec
from corekit.errors import DataError, ShapeError
from corekit.spec import Section, Spec


class EncoderSpec(Spec):
    """From points to a vector."""

    type: Literal["toy.net"] = "toy.net"
    latent_dim: int = Field(256, ge=1, description="size of the latent")
    hidden: int = Field(64, ge=1, description="width")

    def shape(self, event_shape):
        return (self.latent_dim,)


class VagueSpec(Spec):
    """Says nothing about shapes."""

    type: Literal["toy.vague"] = "toy.vague"


class SqueezeSpec(Spec):
    """Halves the first dimension, doubles the last."""

    type: Literal["toy.squeeze"] = "toy.squeeze"

    def shape(self, event_shape, context_shape=None):
        if event_shape[0] % 2:
            raise ShapeError(f"toy.squeeze: the first length must be even, got {event_shape[0]}.")
        return (event_shape[0] // 2, *event_shape[1:-1], event_shape[-1] * 2)


class KeepSpec(Spec):
    """Keeps any shape."""

    type: Literal["toy.keep"] = "toy.keep"

    def shape(self, event_shape, context_shape=None):
        return event_shape


class DenoiserSpec(Spec):
    """Takes a vector of one size as its condition."""

    type: Literal["toy.denoiser"] = "toy.denoiser"
    context: int = Field(256, description="size of the condition")

    def shape(self, event_shape, condition_shapes, out_channels):
        if condition_shapes != {"vector": (self.context,)}:
            raise ShapeError(f"toy.denoiser: condition must fit, got {dict(condition_shapes)}.")


class ScheduleSpec(Spec):
    """Noise."""

    type: Literal["toy.linear"] = "toy.linear"
    steps: int = Field(ge=2, description="number of steps", examples=[100])


class MseSpec(Spec):
    """Squares."""

    type: Literal["toy.mse"] = "toy.mse"


class FileSpec(Spec):
    """A file that may not be there."""

    type: Literal["toy.file"] = "toy.file"
    path: str = Field(description="the file")
    categories: tuple[str, ...] | Literal["all"] = Field("all", description="which")

    def data_spec(self):
        return DataSpec((64, 3))

    def check(self):
        if not os.path.exists(self.path):
            raise DataError(f"toy.file: path must be a file, got {self.path!r}.")


class NotASpec:
    """Not a Spec."""


def _sectioned(name, key):
    """A spec with a section, whose class has the same name in both, and fields of awkward names."""
    section = create_model("Net", __base__=Section, **{key: (int, Field(1, description="size"))})
    return create_model(
        "SectionedSpec",
        __base__=Spec,
        type=(Literal[name], name),
        net=(section, Field(section(), description="the network")),
        default=(int, Field(0, description="a field of this name")),
        title=(str, Field("", description="and of this one")),
        words=(dict[str, str], Field({}, description="any", examples=[{"title": "a"}])),
    )


OneSpec = _sectioned("one.sectioned", "width")
TwoSpec = _sectioned("two.sectioned", "depth")
