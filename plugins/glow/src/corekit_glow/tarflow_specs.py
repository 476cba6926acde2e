"""Specs of flows of transformer blocks, and of flows of noisy data. No torch here."""

import math
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from corekit.data_spec import DataSpec, Shape
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.base import place
from corekit.spec.flows import NormalSpec
from corekit.spec.slots import BijectorSlot, PriorSlot
from corekit_glow.specs import check_image

BOUND = "bound on |log scale| of a block, nats; null for none"


class _TransformerSpec(Spec):
    """What blocks, and flows of them, have in common."""

    patch: int = Field(4, ge=1, description="side of a patch, pixels")
    width: int = Field(256, ge=1, description="numbers of a token inside, a multiple of heads")
    heads: int = Field(4, ge=1, description="of the attention")
    layers: int = Field(4, ge=1, description="of the transformer of a block")
    max_log_scale: float | None = Field(7.0, gt=0, description=BOUND)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads, {self.heads}, got {self.width}")
        return self


class TransformerBlockSpec(_TransformerSpec):
    """Shift and scale each patch of an image, given those before it."""

    type: Literal["glow.transformer_block"] = "glow.transformer_block"
    order: Literal["forward", "backward"] = Field(
        "forward", description="whether the first or the last patch comes first; alternate it"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; the sides must be multiples of the patch."""
        check_patches(self.type, event_shape, self.patch)
        return event_shape


class TarflowSpec(_TransformerSpec):
    """Transformer blocks over the patches of images, every other one from the last patch on."""

    type: Literal["glow.tarflow"] = "glow.tarflow"
    blocks: int = Field(8, ge=1, description="how many blocks")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector of all numbers; the sides must be multiples of the patch."""
        check_patches(self.type, event_shape, self.patch)
        return (math.prod(event_shape),)


class NoisyFlowSpec(Spec):
    """A flow of data to which Gaussian noise is added, and whose samples are denoised."""

    type: Literal["glow.noisy_flow"] = "glow.noisy_flow"
    bijector: BijectorSlot = Field(
        description="the invertible map from noisy data to noise",
        examples=[{"type": "repeat", "times": 4, "of": "linear"}],
    )
    base: PriorSlot = Field(
        default_factory=NormalSpec, description="the density of what the bijector gives"
    )
    sigma: float = Field(
        0.05, gt=0, description="standard deviation of the noise, in units of the data"
    )

    def shape(self, data: DataSpec) -> None:
        """The data pass the bijector, what comes out must fit the base."""
        conditions = data.condition_shapes
        with place("bijector"):
            latent = self.bijector.shape(
                event_shape=tuple(data.event_shape), context_shape=conditions.get("vector")
            )
        if latent is not None:
            with place("base", given_by="bijector"):
                self.base.shape(event_shape=tuple(latent), condition=conditions)


def check_patches(who: str, event_shape: Shape, patch: int) -> None:
    """Refuse what cannot be divided into patches.

    Raises:
        ShapeError: In words that name the component.
    """
    check_image(who, event_shape)
    for name, side in zip(("height", "width"), event_shape[1:], strict=True):
        if side % patch:
            raise ShapeError(
                f"{who}: the {name} must be a multiple of the patch, {patch}, got {side}. Pad to "
                f"{side + -side % patch}, or take another patch."
            )
