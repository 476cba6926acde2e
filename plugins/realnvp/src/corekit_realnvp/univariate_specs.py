"""Specs of maps of one number, and of the bijectors that are one for every element."""

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.spec import Spec

Tails = Literal["linear", "circular", "none"]
TAILS = "outside of the bins: the identity, the same again (angles), or none: data on [0, 1]"


class RationalQuadraticSpec(Spec):
    """A monotone rational-quadratic spline."""

    type: Literal["realnvp.rational_quadratic"] = "realnvp.rational_quadratic"
    bins: int = Field(8, ge=1, description="number of bins")
    bound: float = Field(5.0, gt=0, description="the bins cover [-bound, bound]")
    tails: Tails = Field("linear", description=TAILS)
    min_bin: float = Field(1e-3, ge=0, description="smallest share of a bin")
    min_slope: float = Field(1e-3, gt=0, lt=1, description="smallest slope at a knot")
    parameters: Literal["softplus", "softclip"] = Field(
        "softplus", description="how raw numbers become widths, heights and slopes"
    )
    identity: bool = Field(True, description="whether raw zeros are the identity")


class LinearSplineSpec(Spec):
    """A piecewise linear spline of bins of equal width."""

    type: Literal["realnvp.linear_spline"] = "realnvp.linear_spline"
    bins: int = Field(8, ge=1, description="number of bins")
    bound: float = Field(5.0, gt=0, description="the bins cover [-bound, bound]")
    tails: Tails = Field("linear", description=TAILS)
    min_bin: float = Field(1e-3, ge=0, description="smallest share of a bin in the height")


class MixtureCdfSpec(Spec):
    """The distribution function of a mixture."""

    type: Literal["realnvp.mixture_cdf"] = "realnvp.mixture_cdf"
    components: int = Field(8, ge=1, description="number of components")
    family: Literal["logistic", "normal"] = Field("logistic", description="of the components")
    latent: Literal["logit", "probit", "uniform"] = Field(
        "logit", description="form of the result; with a logistic, normal or uniform base"
    )
    spread: float = Field(1.0, ge=0, description="of the initial locations")


class MixtureCdfBijectorSpec(MixtureCdfSpec):
    """The distribution function of a mixture, for every element one of its own."""

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class MonotoneSpec(Spec):
    """A monotone network of one number."""

    type: Literal["realnvp.monotone"] = "realnvp.monotone"
    hidden: int = Field(8, ge=1, description="hidden units of a layer")
    layers: int = Field(1, ge=1, description="number of layers")
