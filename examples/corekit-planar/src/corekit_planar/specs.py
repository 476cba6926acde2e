"""The spec of each component. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec


class PlanarSpec(Spec):
    """Push the data along one direction, across a soft plane."""

    type: Literal["planar.planar"] = "planar.planar"
    steepness: float = Field(
        1.0, gt=0, description="length of w in a new layer: how narrow the plane is"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """A vector stays a vector."""
        if len(event_shape) != 1:
            raise ShapeError(f"planar.planar: the event must be (features,), got {event_shape}.")
        return event_shape
