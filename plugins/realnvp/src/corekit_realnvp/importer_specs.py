"""Specs of importers."""

from typing import Literal

from pydantic import Field

from corekit.spec import Spec
from corekit.spec.couplings import Activation


class ZukoSpec(Spec):
    """The state dict of a flow of zuko."""

    type: Literal["realnvp.zuko"] = "realnvp.zuko"
    activation: Activation = Field("relu", description="of its networks")
    slope: float = Field(1e-3, gt=0, lt=1, description="smallest slope of a map")
    data_path: str = Field("data/train.npy", description="the file that the spec names as data")


class NflowsSpec(Spec):
    """The state dict of a flow of nflows; the options are what it does not hold."""

    type: Literal["realnvp.nflows"] = "realnvp.nflows"
    tail_bound: float = Field(1.0, gt=0, description="where the tails of splines begin")
    min_bin: float = Field(
        1e-3, ge=0, lt=1, description="smallest share of a bin of a spline, in width and height"
    )
    min_slope: float = Field(1e-3, gt=0, lt=1, description="smallest slope of a spline at a knot")
    activation: Activation = Field("relu", description="of its networks")
    linear_floor: float = Field(1e-3, ge=0, description="eps of its LULinear")
    batch_norm_floor: float = Field(1e-5, ge=0, description="eps of its BatchNorm")
    data_path: str = Field("data/train.npy", description="the file that the spec names as data")
    vector: str = Field(
        "context", description="the array of that file that is the context, of a flow with one"
    )
