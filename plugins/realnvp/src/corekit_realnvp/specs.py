"""The spec of each component. No torch here."""

from typing import Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.errors import ShapeError
from corekit.spec import Spec


class AffineCouplingSpec(Spec):
    """Scale and shift one half, conditioned on the other."""

    type: Literal["realnvp.affine_coupling"] = "realnvp.affine_coupling"
    swap: bool = Field(False, description="condition on the second half and transform the first")
    hidden: int = Field(256, ge=1, description="width of the two hidden layers of the conditioner")
    scale: Literal["exp", "sigmoid2"] = Field(
        "exp",
        description="scale map: exp of a bounded log-scale, or sigmoid(s + 2), "
        "which only contracts",
    )
    max_log_scale: float = Field(2.0, gt=0, description="bound on |log scale| of 'exp', nats")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept; there must be two features or channels to split."""
        if len(event_shape) not in (1, 3) or event_shape[0] < 2:
            raise ShapeError(
                "realnvp.affine_coupling: the event must be (features,) or (channels, height, "
                f"width) with at least 2 features or channels to split, got {tuple(event_shape)}."
            )
        return event_shape
