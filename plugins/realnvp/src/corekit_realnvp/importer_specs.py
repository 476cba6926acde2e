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
