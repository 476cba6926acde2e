"""The spec of each component. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.couplings import SPLIT, Activation, Split, check_split


class AffineCouplingSpec(Spec):
    """Scale and shift one part, conditioned on the other."""

    type: Literal["realnvp.affine_coupling"] = "realnvp.affine_coupling"
    swap: bool = Field(False, description="condition on the second part and transform the first")
    split: Split = Field("halves", description=SPLIT)
    hidden: int = Field(256, ge=1, description="width of the two hidden layers of the conditioner")
    scale: Literal["exp", "sigmoid2", "softplus", "softclip"] = Field(
        "exp",
        description="scale map: exp of a bounded log-scale, sigmoid(s + 2), which only contracts, "
        "softplus, or exp of a softly clipped log-scale",
    )
    max_log_scale: float = Field(
        2.0, gt=0, description="bound on |log scale| of exp and softclip, nats"
    )
    spectral_norm: bool = Field(
        False,
        description="divide the weights of the conditioner's layers by their largest singular "
        "value; not of images",
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be two features or channels to split."""
        check_split(self.type, self.split, event_shape)
        if self.spectral_norm and len(event_shape) == 3:
            raise ShapeError(
                f"{self.type}: spectral_norm must have an event (D,), got {tuple(event_shape)}."
            )
        return event_shape


class AdditiveCouplingSpec(Spec):
    """Shift one part, conditioned on the other."""

    type: Literal["realnvp.additive_coupling"] = "realnvp.additive_coupling"
    swap: bool = Field(False, description="condition on the second part and shift the first")
    split: Split = Field("halves", description=SPLIT)
    hidden: int = Field(256, ge=1, description="width of the two hidden layers of the conditioner")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be two features or channels to split."""
        check_split(self.type, self.split, event_shape)
        return event_shape


class RationalQuadraticCouplingSpec(Spec):
    """Move one part by rational-quadratic splines, conditioned on the other."""

    type: Literal["realnvp.rational_quadratic"] = "realnvp.rational_quadratic"
    swap: bool = Field(False, description="condition on the second part and move the first")
    split: Split = Field("halves", description=SPLIT)
    hidden: int = Field(128, ge=1, description="width of the two hidden layers of the conditioner")
    bins: int = Field(8, ge=1, description="number of bins")
    bound: float = Field(5.0, gt=0, description="the bins cover [-bound, bound]")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be two features or channels to split."""
        check_split(self.type, self.split, event_shape)
        return event_shape


class ResidualMlpSpec(Spec):
    """A perceptron of residual blocks, which a context gates."""

    type: Literal["realnvp.residual_mlp"] = "realnvp.residual_mlp"
    hidden: int = Field(128, ge=1, description="width of all layers")
    blocks: int = Field(2, ge=0, description="number of blocks, of two layers each")
    activation: Activation = Field("relu", description="in front of each layer of a block")
    zero_last: bool = Field(True, description="whether a new network gives zeros")
