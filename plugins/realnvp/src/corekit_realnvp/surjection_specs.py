"""Specs of surjections. No torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import NetworkSlot

NET = "to mean and log-deviation; perceptron or convnet if null"
BOUND = "bound on |log-deviation|, nats; null for none"


class AugmentSpec(Spec):
    """Put numbers of a Gaussian beside the data."""

    type: Literal["realnvp.augment"] = "realnvp.augment"
    extra: int = Field(1, ge=1, description="features or channels that are added")
    conditional: bool = Field(True, description="whether they depend on the data")
    net: NetworkSlot | None = Field(None, description=f"from the data {NET}")
    max_log_scale: float | None = Field(7.0, gt=0, description=BOUND)

    def shape(self, data: DataSpec, context_shape: Shape | None = None) -> Shape:
        """The first axis grows."""
        first, *rest = _nonempty(self.type, data)
        _check_net(self, tuple(data.event_shape), (2, self.extra, *rest), context_shape)
        return (first + self.extra, *rest)


class SliceSpec(Spec):
    """Keep the first features, and model the others given these by a Gaussian."""

    type: Literal["realnvp.slice"] = "realnvp.slice"
    drop: int = Field(1, ge=1, description="features or channels that are taken away, the last")
    conditional: bool = Field(True, description="whether they depend on those that are kept")
    net: NetworkSlot | None = Field(None, description=f"from what is kept {NET}")
    max_log_scale: float | None = Field(7.0, gt=0, description=BOUND)

    def shape(self, data: DataSpec, context_shape: Shape | None = None) -> Shape:
        """The first axis shrinks."""
        first, *rest = _nonempty(self.type, data)
        if self.drop >= first:
            raise ShapeError(
                f"realnvp.slice: drop must be from 1 to {first - 1} for the event shape "
                f"{tuple(data.event_shape)}, got {self.drop}.",
                path=("drop",),
            )
        kept = (first - self.drop, *rest)
        _check_net(self, kept, (2, self.drop, *rest), context_shape)
        return kept


def _nonempty(who: str, data: DataSpec) -> Shape:
    if not data.event_shape:
        raise ShapeError(f"{who}: the data must have an axis of features, got the event shape ().")
    return tuple(data.event_shape)


def _check_net(
    spec: AugmentSpec | SliceSpec, seen: Shape, out: Shape, context_shape: Shape | None
) -> None:
    if spec.net is None:
        return
    with place("net"):
        spec.net.shape(in_shape=seen, out_shape=out, context_shape=context_shape)
