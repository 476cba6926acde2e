"""Specs of encoders: networks from data to the features that a posterior is made of."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape, Support
from corekit.spec.base import Spec
from corekit.spec.slots import PosteriorSlot
from corekit_vae.specs.posteriors import DiagonalGaussianSpec
from corekit_vae.specs.sizes import asked_latent, check_image, floors, halvings

Width = Annotated[int, Field(ge=1)]
Activation = Literal["relu", "silu", "gelu", "tanh", "elu", "leaky_relu"]


class EncoderSpec(Spec):
    """What all encoders share: a posterior, and perhaps a condition."""

    posterior: PosteriorSlot = Field(
        default_factory=DiagonalGaussianSpec, description="what the features are made into"
    )
    condition_width: int = Field(
        0, ge=0, description="numbers of the condition: classes of a label, length of a vector"
    )

    @property
    def latent_support(self) -> Support | None:
        """Where the latent lies; None if only the built posterior knows."""
        return getattr(self.posterior, "latent_support", None)

    def shape(self, event_shape: Shape) -> Shape | None:
        """The latent, after the posterior has seen it."""
        features = self.feature_shape(event_shape)
        latent: Shape | None = self.posterior.shape(
            feature_shape=features, latent_shape=self._asked(features)
        )
        return latent

    @abstractmethod
    def feature_shape(self, event_shape: Shape) -> Shape:
        """What the network makes of the data."""

    @abstractmethod
    def _asked(self, features: Shape) -> Shape: ...


class MlpEncoderSpec(EncoderSpec):
    """A multilayer perceptron over the flattened data."""

    type: Literal["vae.mlp"] = "vae.mlp"
    latent_dim: int = Field(16, ge=1, description="size of the latent")
    hidden: tuple[Width, ...] = Field((512,), description="width of each hidden layer")
    activation: Activation = Field("relu", description="between the layers")

    def feature_shape(self, event_shape: Shape) -> Shape:
        """The last hidden layer; the data themselves without one."""
        return (self.hidden[-1] if self.hidden else math.prod(event_shape) + self.condition_width,)

    def _asked(self, features: Shape) -> Shape:
        return (self.latent_dim,)


class StridedEncoderSpec(EncoderSpec):
    """What encoders of images share that halve them by convolutions with a stride."""

    latent_dim: int | None = Field(
        None, ge=1, description="size of the latent; 128 if latent_channels is left out, too"
    )
    latent_channels: int | None = Field(
        None, ge=1, description="make the latent an image of so many channels instead"
    )
    widths: tuple[Width, ...] = Field(
        (32, 64, 128, 256, 512),
        min_length=1,
        description="channels after each halving, from the data to the latent",
    )
    activation: Activation = Field("leaky_relu", description="after each convolution")
    batch_norm: bool = Field(True, description="normalise over the batch before each activation")
    embed_data: bool = Field(
        False, description="a 1x1 convolution of the data beside the condition's channel"
    )

    def feature_shape(self, event_shape: Shape) -> Shape:
        """The smallest image."""
        check_image(self.type, event_shape)
        return (self.widths[-1], *halvings(event_shape[1:], len(self.widths))[-1])

    def _asked(self, features: Shape) -> Shape:
        return asked_latent(self.type, features, self.latent_dim, self.latent_channels)


class ConvEncoderSpec(StridedEncoderSpec):
    """Convolutions with a stride of 2, for images of any size."""

    type: Literal["vae.conv"] = "vae.conv"


class ResnetEncoderSpec(StridedEncoderSpec):
    """Convolutions with a stride of 2, and residual blocks behind each."""

    type: Literal["vae.resnet"] = "vae.resnet"
    widths: tuple[Width, ...] = Field(
        (64, 128, 256),
        min_length=1,
        description="channels after each halving, from the data to the latent",
    )
    activation: Activation = Field("relu", description="after each convolution")
    blocks: int = Field(2, ge=0, description="residual blocks behind each halving")


class KlEncoderSpec(EncoderSpec):
    """The encoder of latent diffusion: residual blocks with group norm, attention in the middle."""

    type: Literal["vae.kl"] = "vae.kl"
    latent_channels: int = Field(4, ge=1, description="channels of the latent, an image")
    widths: tuple[Width, ...] = Field(
        (128, 256, 512, 512), min_length=1, description="channels; a halving between two of them"
    )
    blocks: int = Field(2, ge=1, description="residual blocks at each size")
    attention: bool = Field(True, description="attention between the blocks at the smallest size")
    groups: int = Field(32, ge=1, description="of the group norms, at most")

    def feature_shape(self, event_shape: Shape) -> Shape:
        """Two numbers for each latent one."""
        check_image(self.type, event_shape)
        sizes = floors(self.type, event_shape[1:], len(self.widths) - 1)
        return (2 * self.latent_channels, *sizes[-1])

    def _asked(self, features: Shape) -> Shape:
        return (self.latent_channels, *features[1:])
