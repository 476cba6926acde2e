"""Specs of autoregressive networks and layers."""

from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.base import place
from corekit.spec.couplings import Activation, AffineSpec
from corekit.spec.slots import NetworkSlot, UnivariateSlot

Width = Annotated[int, Field(ge=1)]
Order = Literal["sequential", "reversed", "random"] | tuple[Annotated[int, Field(ge=0)], ...]
ORDER = "of the features: a word, or the place of each, counted from 0"
Scale = Literal["exp", "sigmoid2", "softplus", "softclip"]


class MadeSpec(Spec):
    """A masked perceptron: parameters of a feature from the features before it."""

    type: Literal["realnvp.made"] = "realnvp.made"
    hidden: tuple[Width, ...] = Field(
        (128, 128), min_length=1, description="width of each hidden layer"
    )
    activation: Activation = Field("relu", description="between the layers")
    order: Order = Field("sequential", description=ORDER)
    seed: int = Field(0, ge=0, description="of the random order")
    adjacency: tuple[tuple[Literal[0, 1], ...], ...] | None = Field(
        None, description="in place of an order: for each feature, which ones it sees"
    )
    zero_last: bool = Field(True, description="whether a new network gives zeros")
    blocks: int = Field(
        0,
        ge=0,
        description="residual blocks of two layers behind the hidden ones; not with an adjacency",
    )
    first_sees_context: bool = Field(
        True, description="whether the first feature depends on the context; in nflows it does not"
    )
    activate_context: bool = Field(
        False, description="whether what the context adds passes the activation, as in nflows"
    )

    def shape(self, in_shape: Shape, out_shape: Shape, context_shape: Shape | None = None) -> None:
        """A vector, and parameters for each of its features."""
        _check_vector(self.type, in_shape)


class AutoregressiveSpec(Spec):
    """Move every element by a map steered by the elements before it."""

    type: Literal["realnvp.autoregressive"] = "realnvp.autoregressive"
    univariate: UnivariateSlot = Field(
        default_factory=AffineSpec, description="the map of one number"
    )
    net: NetworkSlot = Field(
        default_factory=MadeSpec, description="an autoregressive network: made, pixelcnn"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        with place("net"):
            out_shape = (1, *event_shape)
            self.net.shape(in_shape=event_shape, out_shape=out_shape, context_shape=context_shape)
        return event_shape


class MafSpec(Spec):
    """Masked autoregressive flow: fast to evaluate."""

    type: Literal["realnvp.maf"] = "realnvp.maf"
    hidden: tuple[Width, ...] = Field(
        (128, 128), min_length=1, description="width of each hidden layer"
    )
    order: Order = Field("sequential", description=f"{ORDER}; alternate it")
    seed: int = Field(0, ge=0, description="of the random order")
    scale: Scale = Field("exp", description="how a raw parameter becomes a scale")
    max_log_scale: float | None = Field(
        2.0, gt=0, description="bound on |log scale| of exp and softclip, nats; null for none"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector stays a vector."""
        _check_vector(self.type, event_shape)
        return event_shape


class IafSpec(MafSpec):
    """Inverse autoregressive flow: fast to sample."""

    type: Literal["realnvp.iaf"] = "realnvp.iaf"  # type: ignore[assignment]


def _check_vector(name: str, shape: Shape) -> None:
    if len(shape) != 1:
        raise ShapeError(f"{name}: the event must be a vector (features,), got {tuple(shape)}.")
