"""Specs of decoders: networks from a latent to what a likelihood is given."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.spec.base import Spec
from corekit.spec.slots import LikelihoodSlot
from corekit_vae.specs.encoders import Activation
from corekit_vae.specs.likelihoods import GaussianSpec
from corekit_vae.specs.sizes import check_image, floors

Width = Annotated[int, Field(ge=1)]


class DecoderSpec(Spec):
    """What all decoders share: a likelihood."""

    likelihood: LikelihoodSlot = Field(
        default_factory=GaussianSpec, description="the distribution of the data, given the network"
    )


class ImageDecoderSpec(DecoderSpec):
    """What decoders of images share."""

    def shape(self, event_shape: Shape, latent_shape: Shape) -> None:
        """Images of any size."""
        check_image(self.type, event_shape)


class MlpDecoderSpec(DecoderSpec):
    """A multilayer perceptron."""

    type: Literal["vae.mlp"] = "vae.mlp"
    hidden: tuple[Width, ...] = Field(
        (512,), description="width of each hidden layer, from the latent to the data"
    )
    activation: Activation = Field("relu", description="between the layers")


class StridedDecoderSpec(ImageDecoderSpec):
    """What decoders of images share that double them by transposed convolutions."""

    widths: tuple[Width, ...] = Field(
        (32, 64, 128, 256, 512),
        min_length=1,
        description="channels before each doubling, from the data to the latent as in the encoder",
    )
    activation: Activation = Field("leaky_relu", description="after each convolution but the last")
    batch_norm: bool = Field(True, description="normalise over the batch before each activation")


class ConvDecoderSpec(StridedDecoderSpec):
    """Transposed convolutions with a stride of 2, for images of any size."""

    type: Literal["vae.conv"] = "vae.conv"


class ResnetDecoderSpec(StridedDecoderSpec):
    """Residual blocks, and transposed convolutions with a stride of 2 behind them."""

    type: Literal["vae.resnet"] = "vae.resnet"
    widths: tuple[Width, ...] = Field(
        (64, 128, 256),
        min_length=1,
        description="channels before each doubling, from the data to the latent as in the encoder",
    )
    activation: Activation = Field("relu", description="after each convolution but the last")
    blocks: int = Field(2, ge=0, description="residual blocks before each doubling")


class KlDecoderSpec(ImageDecoderSpec):
    """The decoder of latent diffusion: residual blocks with group norm, attention in the middle."""

    type: Literal["vae.kl"] = "vae.kl"
    widths: tuple[Width, ...] = Field(
        (128, 256, 512, 512),
        min_length=1,
        description="channels, a doubling between two of them; from the data to the latent as in "
        "the encoder",
    )
    blocks: int = Field(2, ge=1, description="residual blocks at each size, and one more")
    attention: bool = Field(True, description="attention between the blocks at the smallest size")
    groups: int = Field(32, ge=1, description="of the group norms, at most")

    def shape(self, event_shape: Shape, latent_shape: Shape) -> None:
        """Images that can be halved so often."""
        check_image(self.type, event_shape)
        floors(self.type, event_shape[1:], len(self.widths) - 1)
