"""Specs of dequantisers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corekit.data_spec import DataSpec, Shape
from corekit.errors import ShapeError
from corekit.spec.base import Spec, place
from corekit.spec.slots import BijectorSlot


class UniformDequantizeSpec(Spec):
    """Uniform noise in each bin."""

    type: Literal["realnvp.uniform_dequantize"] = "realnvp.uniform_dequantize"

    def shape(self, data: DataSpec, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; the data must have levels."""
        return _check_levels(self.type, data)


class VariationalDequantizeSpec(Spec):
    """Noise in each bin that a flow makes, given the image."""

    type: Literal["realnvp.variational_dequantize"] = "realnvp.variational_dequantize"
    bijector: BijectorSlot = Field(
        description="the map from noise to normal noise; its context is the image",
        examples=[{"type": "coupling", "split": "interleaved"}],
    )

    def shape(self, data: DataSpec, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; the data must have levels."""
        shape = _check_levels(self.type, data)
        with place("bijector"):
            self.bijector.shape(event_shape=shape, context_shape=shape)
        return shape


def _check_levels(who: str, data: DataSpec) -> Shape:
    if data.levels is None:
        raise ShapeError(f"{who}: the data must have levels, got none. Leave it out.")
    return tuple(data.event_shape)
