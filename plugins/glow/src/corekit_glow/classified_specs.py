"""The spec of a flow with a class head. No torch here."""

from dataclasses import replace
from typing import Literal

from pydantic import Field

from corekit.data_spec import DataSpec
from corekit.errors import ShapeError
from corekit.spec import Spec
from corekit.spec.flows import FlowModelSpec, NormalSpec
from corekit.spec.slots import BijectorSlot, PriorSlot, StochasticSlot


class ClassifiedFlowSpec(Spec):
    """A flow of labelled data that also tells the labels from its deepest latent."""

    type: Literal["glow.classified_flow"] = "glow.classified_flow"
    bijector: BijectorSlot = Field(
        description="the invertible map from data to noise",
        examples=[{"type": "glow.glow", "levels": 1, "steps": 1, "hidden": 8}],
    )
    base: PriorSlot = Field(
        default_factory=NormalSpec, description="the density of what the bijector gives"
    )
    dequantize: StochasticSlot | None = Field(
        None, description="what makes real numbers of quantised data (`flow`)"
    )
    surjection: StochasticSlot | None = Field(
        None, description="what then adds numbers to the data or takes some away (`flow`)"
    )
    classes: int | None = Field(
        None,
        ge=1,
        description="number of classes of the labels; null for several labels, each 0 or 1, in the "
        "vector of the data",
    )
    conditional: bool = Field(True, description="whether the flow is conditioned on the labels")
    weight: float = Field(
        0.01,
        ge=0,
        description="of the cross-entropy in bits, beside bits per dimension",
    )

    def shape(self, data: DataSpec) -> None:
        """The data have labels, and pass the flow with or without them."""
        conditions = data.condition_shapes
        name = "vector" if self.classes is None else "labels"
        if name not in conditions:
            raise ShapeError(
                f"glow.classified_flow: data must have the condition '{name}', got "
                f"{', '.join(conditions) or 'none'}. Let the data hand on labels; leave out "
                "classes if they are a vector of 0 and 1.",
                path=("classes",),
            )
        seen = {key: shape for key, shape in conditions.items() if self.conditional or key != name}
        flow = FlowModelSpec(
            bijector=self.bijector,
            base=self.base,
            dequantize=self.dequantize,
            surjection=self.surjection,
            classes=self.classes if self.conditional else None,
        )
        flow.shape(replace(data, condition_shapes=seen))
