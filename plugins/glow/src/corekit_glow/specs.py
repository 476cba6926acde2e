"""The spec of each component. No torch here."""

import math
from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.couplings import check_split
from corekit.spec.slots import BijectorSlot, NetworkSlot

Form = Literal["affine", "additive"]
Scale = Literal["sigmoid2", "exp_tanh", "clamped"]
Border = Literal["none", "last", "all"]
FORM = "additive keeps volumes and is the more stable one"
SCALE = "sigmoid(r + 2), which only contracts; exp of a tanh; exp of an arctangent"
FLOOR = "the least scale, by which the inverse divides"
HIDDEN = "channels inside a network"
LOGSCALE = "multiplies the rate of the scales of layers that start with zeros; 0 for no scales"
BORDER = "which convolutions are told where the border of the picture is"
BOUND = "bound on |log deviation| of what leaves, nats; null for none"
BITS = "of the levels of the data"
FOLDER = "the folder of pictures that the spec names as data"
LABELS = "of a port with a class head: one class, or several labels, each 0 or 1, in arrays"
PERMUTATION = "of a checkpoint without 1x1 convolutions, which does not say so"
INPUTS = "what the port saw: level / 255, or (level + u) / 256 - 1/2"


class InvertibleConvSpec(Spec):
    """A matrix over the features or channels, the same at each pixel."""

    type: Literal["glow.invertible_conv"] = "glow.invertible_conv"
    form: Literal["lu", "plain", "qr", "orthogonal"] = Field(
        "lu", description="factors, free entries, reflections times a triangle, reflections"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class PermuteSpec(Spec):
    """The channels in another, fixed order."""

    type: Literal["glow.permute"] = "glow.permute"
    order: Literal["reverse", "shuffle"] = Field("shuffle", description="the last first, or any")
    seed: int = Field(0, ge=0, description="of the shuffle; give each layer its own")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class GlowCouplingSpec(Spec):
    """Shift and scale half of the features or channels, given the others."""

    type: Literal["glow.coupling"] = "glow.coupling"
    form: Form = Field("affine", description=FORM)
    scale: Scale = Field("sigmoid2", description=SCALE)
    floor: float = Field(1e-3, ge=0, lt=1, description=FLOOR)
    max_log_scale: float = Field(2.0, gt=0, description="of exp_tanh and clamped, nats")
    hidden: int = Field(512, ge=1, description="channels inside the default network of images")
    net: NetworkSlot | None = Field(None, description="glow.net, or mlp for vectors, if null")
    swap: bool = Field(False, description="exchange the halves")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be something to divide."""
        check_split(self.type, "halves", event_shape)
        return event_shape


class FlowStepSpec(Spec):
    """ActNorm, a mixing of the channels and a coupling, folded where they can be."""

    type: Literal["glow.step"] = "glow.step"
    actnorm: BijectorSlot = Field("actnorm", validate_default=True, description="the first member")
    mixing: BijectorSlot = Field(
        "glow.invertible_conv", validate_default=True, description="the second: a matrix, an order"
    )
    coupling: BijectorSlot = Field("glow.coupling", validate_default=True, description="the third")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be something to divide."""
        check_split(self.type, "halves", event_shape)
        return event_shape


class TopPriorSpec(Spec):
    """A learned mean and deviation of each channel, by a context where there is one."""

    type: Literal["glow.top"] = "glow.top"
    learn: bool = Field(True, description="whether there is one without a context")
    logscale_factor: float = Field(3.0, ge=0, description=LOGSCALE)
    max_log_std: float | None = Field(7.0, gt=0, description=BOUND)
    edge: bool = Field(False, description="of an image, whether they differ at the border")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        if self.edge and len(event_shape) != 3:
            raise ShapeError(
                f"glow.top: an event with a border must be (channels, height, width), got "
                f"{tuple(event_shape)}. Leave out edge."
            )
        return event_shape


class GlowSpec(Spec):
    """Glow: levels of flow steps over images, half of the channels leaving after each."""

    type: Literal["glow.glow"] = "glow.glow"
    levels: Annotated[int, Field(ge=1)] = Field(3, description="how often the image is squeezed")
    steps: Annotated[int, Field(ge=1)] = Field(32, description="flow steps of a level")
    hidden: int = Field(512, ge=1, description=HIDDEN)
    mixing: Literal["lu", "plain", "qr", "orthogonal", "shuffle", "reverse"] = Field(
        "lu", description="1x1 convolutions of this form, or a fixed order of the channels"
    )
    coupling: Form = Field("affine", description=FORM)
    scale: Scale = Field("sigmoid2", description=SCALE)
    floor: float = Field(1e-3, ge=0, lt=1, description=FLOOR)
    learn_top: bool = Field(
        True, description="whether mean and deviation of the deepest level are learned"
    )
    context_to: Literal["top", "all"] = Field(
        "top", description="what sees the context: the deepest level's deviation, or networks too"
    )
    max_log_std: float | None = Field(7.0, gt=0, description=BOUND)
    net: NetworkSlot | None = Field(None, description="of the couplings; glow.net if null")
    actnorm_in_net: bool = Field(True, description="whether the networks have actnorm")
    actnorm_scale: float = Field(
        1.0, gt=0, description="deviation of the channels after the actnorm of a step at first"
    )
    logscale_factor: float = Field(3.0, ge=0, description=LOGSCALE)
    edge_bias: Border = Field("none", description=BORDER)
    net_dtype: Literal["input", "bf16"] = Field(
        "input", description="bf16 lets the networks train in bfloat16, and nothing else"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector of all numbers; the sides must be multiples of 2^levels."""
        check_sides(self.type, event_shape, self.levels)
        return (math.prod(event_shape),)


class GlowNetSpec(Spec):
    """A 3x3, a 1x1 and a 3x3 convolution with actnorm; the last starts with zeros."""

    type: Literal["glow.net"] = "glow.net"
    hidden: int = Field(512, ge=1, description=HIDDEN)
    actnorm: bool = Field(True, description="whether the hidden layers have actnorm")
    logscale_factor: float = Field(3.0, ge=0, description=LOGSCALE)
    edge_bias: Border = Field("none", description=BORDER)
    dtype: Literal["input", "bf16"] = Field("input", description="bf16 lets it train in bfloat16")

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        check_image(self.type, in_shape)


class GatedResNetSpec(Spec):
    """Gated residual blocks between two 3x3 convolutions; the last starts with zeros."""

    type: Literal["glow.gated_resnet"] = "glow.gated_resnet"
    hidden: int = Field(96, ge=1, description=HIDDEN)
    blocks: int = Field(4, ge=1, description="how many")
    dropout: float = Field(0.0, ge=0, lt=1, description="share taken away inside, in training")
    logscale_factor: float = Field(3.0, ge=0, description=LOGSCALE)

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        check_image(self.type, in_shape)


class SplitNetSpec(Spec):
    """One 3x3 convolution that starts with zeros."""

    type: Literal["glow.zero"] = "glow.zero"
    logscale_factor: float = Field(3.0, ge=0, description=LOGSCALE)
    edge: bool = Field(False, description="whether it is told where the border is")

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """Images only."""
        check_image(self.type, in_shape)


class ChaiyujinSpec(Spec):
    """A checkpoint of chaiyujin/glow-pytorch."""

    type: Literal["glow.chaiyujin"] = "glow.chaiyujin"
    inputs: Literal["centred", "to_tensor"] = Field("to_tensor", description=INPUTS)
    permutation: Literal["unknown", "reverse"] = Field("unknown", description=PERMUTATION)
    bits: int = Field(8, ge=1, le=8, description=BITS)
    data_path: str = Field("pictures", description=FOLDER)
    labels: Literal["class", "several"] = Field("class", description=LABELS)


class Y0astSpec(Spec):
    """A state dict of y0ast/Glow-PyTorch."""

    type: Literal["glow.y0ast"] = "glow.y0ast"
    inputs: Literal["centred", "to_tensor"] = Field("centred", description=INPUTS)
    permutation: Literal["unknown", "reverse"] = Field("unknown", description=PERMUTATION)
    bits: int = Field(8, ge=1, le=8, description=BITS)
    data_path: str = Field("pictures", description=FOLDER)
    labels: Literal["class", "several"] = Field("class", description=LABELS)


class RosinalitySpec(Spec):
    """A checkpoint of rosinality/glow-pytorch."""

    type: Literal["glow.rosinality"] = "glow.rosinality"
    bits: int = Field(5, ge=1, le=8, description=BITS)
    data_path: str = Field("pictures", description=FOLDER)


def check_image(who: str, shape: Shape) -> None:
    """Refuse what is no image.

    Raises:
        ShapeError: In words that name the component.
    """
    if len(shape) != 3:
        raise ShapeError(f"{who}: the event must be (channels, height, width), got {tuple(shape)}.")


def check_sides(who: str, event_shape: Shape, levels: int) -> None:
    """Refuse what cannot be squeezed so often.

    Raises:
        ShapeError: With the factor that is missing.
    """
    check_image(who, event_shape)
    factor = 2**levels
    for name, side in zip(("height", "width"), event_shape[1:], strict=True):
        if side % factor:
            have = side & -side  # the greatest power of 2 in it
            raise ShapeError(
                f"{who}: the {name} must be a multiple of 2^levels = {factor}, got {side}, which "
                f"lacks a factor of {factor // have}. Pad to {side + -side % factor}, or take "
                f"{have.bit_length() - 1} levels."
            )
