"""Specs of the base densities of flows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field

from corekit.data_spec import Shape, Support
from corekit.spec.base import Spec, place
from corekit.spec.slots import NetworkSlot


class UniformBaseSpec(Spec):
    """Independent elements, uniform on [0, 1]."""

    type: Literal["uniform"] = "uniform"
    support: ClassVar[Support | None] = Support.UNIT_INTERVAL


class LogisticBaseSpec(Spec):
    """Independent standard logistic elements."""

    type: Literal["logistic"] = "logistic"
    support: ClassVar[Support | None] = Support.REAL


class GaussianBaseSpec(Spec):
    """Independent Gaussian elements of a mean and a scale each."""

    type: Literal["gaussian"] = "gaussian"
    support: ClassVar[Support | None] = Support.REAL
    mean: float = Field(0.0, description="where the means start")
    scale: float = Field(1.0, gt=0, description="where the standard deviations start")
    learn: bool = Field(True, description="whether they are learned; false keeps them")
    net: NetworkSlot | None = Field(
        None, description="from the condition's vector to both; a perceptron if null"
    )

    def shape(self, event_shape: Shape, condition: Mapping[str, Shape] | None = None) -> None:
        """A condition must fit the network."""
        if self.learn:
            _check_net(self.net, condition, (2, *event_shape))


class MixtureFields(Spec):
    """What mixtures over the whole event share."""

    support: ClassVar[Support | None] = Support.REAL
    components: int = Field(8, ge=1, description="number of components")
    family: Literal["normal", "logistic"] = Field("normal", description="of the components")
    spread: float = Field(1.0, ge=0, description="of the locations at the start")
    net: NetworkSlot | None = Field(
        None, description="from the condition's vector to all parameters; a perceptron if null"
    )

    def shape(self, event_shape: Shape, condition: Mapping[str, Shape] | None = None) -> None:
        """A condition must fit the network."""
        _check_net(self.net, condition, (self.components, 2 * math.prod(event_shape) + 1))


class MixtureBaseSpec(MixtureFields):
    """A mixture over the whole event."""

    type: Literal["mixture"] = "mixture"


def _check_net(net: Spec | None, condition: Mapping[str, Shape] | None, out_shape: Shape) -> None:
    vector = (condition or {}).get("vector")
    if net is not None and vector is not None:
        with place("net"):
            net.shape(in_shape=tuple(vector), out_shape=out_shape, context_shape=None)
