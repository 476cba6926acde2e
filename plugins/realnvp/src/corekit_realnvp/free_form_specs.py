"""Specs of flows whose Jacobian has no triangular shape. No torch here."""

from typing import Annotated, Literal

from pydantic import Field

from corekit.data_spec import Shape
from corekit.spec import Spec
from corekit.spec.base import place
from corekit.spec.slots import NetworkSlot

Width = Annotated[int, Field(ge=1)]


class PlanarSpec(Spec):
    """Push the data along one direction, across a soft plane."""

    type: Literal["realnvp.planar"] = "realnvp.planar"
    net: NetworkSlot | None = Field(
        None, description="from a context to w, u and b; a perceptron if null"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class ResidualSpec(Spec):
    """Add a perceptron that moves less than its input."""

    type: Literal["realnvp.residual"] = "realnvp.residual"
    hidden: tuple[Width, ...] = Field(
        (128, 128), min_length=1, description="width of each hidden layer"
    )
    lipschitz: float = Field(
        0.9, gt=0, lt=1, description="how far an output may move per move of the input"
    )
    logdet: Literal["exact", "roulette", "truncated"] = Field(
        "exact",
        description="of the log-determinant: exact, an unbiased estimate, or a few terms of the "
        "series, which is no likelihood",
    )
    terms: int = Field(4, ge=1, description="terms of the series that are always taken")

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        return event_shape


class ContinuousSpec(Spec):
    """Follow a velocity field."""

    type: Literal["realnvp.continuous"] = "realnvp.continuous"
    net: NetworkSlot | None = Field(
        None, description="the velocity; a perceptron, or for images convolutions, if null"
    )
    solver: Literal["rk4", "dopri5", "midpoint", "euler", "adaptive"] = Field(
        "rk4", description="on a fixed grid; adaptive needs torchdiffeq"
    )
    steps: int = Field(16, ge=1, description="of the fixed grid")
    tolerance: float = Field(1e-6, gt=0, description="of the adaptive solver")
    adjoint: bool = Field(
        False, description="gradients of the adaptive solver by the adjoint equation: less memory"
    )
    trace: Literal["exact", "hutchinson"] = Field(
        "exact", description="of the velocity's Jacobian: exact, or an unbiased estimate"
    )

    def shape(self, event_shape: Shape, context_shape: Shape | None = None) -> Shape:
        """The shape is kept."""
        if self.net is not None:
            with place("net"):
                self.net.shape(in_shape=event_shape, out_shape=event_shape, context_shape=(3,))
        return event_shape
