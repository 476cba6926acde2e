"""Specs of whole models, and of the networks made for them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.given import chosen_of, width_of
from corekit.spec.slots import DecoderSlot, EncoderSlot, PosteriorSlot, PriorSlot, QuantizerSlot
from corekit_vae.specs.decoders import ImageDecoderSpec
from corekit_vae.specs.encoders import EncoderSpec
from corekit_vae.specs.posteriors import PointSpec
from corekit_vae.specs.quantizers import VectorSpec
from corekit_vae.specs.sizes import check_grid, check_image, floors

Width = Annotated[int, Field(ge=1)]


class VqEncoderSpec(EncoderSpec):
    """Convolutions with a stride of 2, residual blocks, and a vector at each place."""

    type: Literal["vae.vq"] = "vae.vq"
    latent_channels: int = Field(64, ge=1, description="numbers of the vector at each place")
    widths: tuple[Width, ...] = Field(
        (128, 256), min_length=1, description="channels after each halving"
    )
    blocks: int = Field(6, ge=0, description="residual blocks at the smallest size")
    posterior: PosteriorSlot = Field(
        default_factory=PointSpec, description="what the vectors are made into"
    )

    def feature_shape(self, event_shape: Shape) -> Shape:
        """The smallest image."""
        check_image(self.type, event_shape)
        sizes = floors(self.type, event_shape[1:], len(self.widths))
        return (self.widths[-1], *sizes[-1])

    def _asked(self, features: Shape) -> Shape:
        return (self.latent_channels, *features[1:])


class VqDecoderSpec(ImageDecoderSpec):
    """Residual blocks and transposed convolutions with a stride of 2."""

    type: Literal["vae.vq"] = "vae.vq"
    widths: tuple[Width, ...] = Field(
        (128, 256),
        min_length=1,
        description="channels before each doubling, from the data to the latent",
    )
    blocks: int = Field(6, ge=0, description="residual blocks at the smallest size")

    def shape(self, event_shape: Shape, latent_shape: Shape) -> None:
        """The latent must be as large as the image after all halvings."""
        super().shape(event_shape, latent_shape)
        sizes = floors(self.type, event_shape[1:], len(self.widths))
        check_grid(self.type, latent_shape, sizes[-1])


class QuantizedSpec(Spec):
    """An auto-encoder with codes of a finite set in the middle, and perhaps a prior of them."""

    type: Literal["vae.quantized"] = "vae.quantized"
    encoder: EncoderSlot = Field(
        description="from data to a point: a vector at each place",
        examples=[{"type": "vae.vq", "latent_channels": 8, "widths": [8], "blocks": 1}],
    )
    quantizer: QuantizerSlot = Field(
        default_factory=VectorSpec, description="from these vectors to codes"
    )
    decoder: DecoderSlot = Field(
        description="from the vectors of the codes to data",
        examples=[{"type": "vae.vq", "widths": [8], "blocks": 1}],
    )
    prior: PriorSlot | None = Field(
        None, description="probability of the codes; null makes an auto-encoder"
    )
    quantizer_weight: float = Field(
        1.0, ge=0, description="of the quantizer's loss beside the reconstruction"
    )
    classes: int | None = Field(
        None, ge=1, description="tell the prior the class: number of labels of the data"
    )

    def shape(self, data: DataSpec) -> None:
        """Encoder, quantizer, decoder and prior must fit."""
        with place("encoder"):
            latent = self.encoder.shape(event_shape=data.event_shape)
        if latent is None:
            return
        latent = tuple(latent)
        with place("quantizer", given_by="encoder"):
            codes = self.quantizer.shape(latent_shape=latent)
        with place("decoder", given_by="encoder"):
            self.decoder.shape(event_shape=data.event_shape, latent_shape=latent)
        if self.prior is None:
            return
        lives = getattr(self.prior, "support", None)
        if lives is not Support.CODES:
            raise ShapeError(
                f"vae.quantized: the prior must be one of codes, got {self.prior.type}. Use "
                "vae.autoregressive."
            )
        told: dict[str, Shape] | None = None
        if self.classes is not None:
            chosen = chosen_of(data.condition_shapes, self.classes, None)
            told = {"vector": (width_of(chosen, self.classes, None),)}
        with place("prior", given_by="quantizer"):
            self.prior.shape(event_shape=tuple(codes), condition=told)
