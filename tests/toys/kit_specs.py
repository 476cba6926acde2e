"""Specs with one mistake each, for the tests of the conformance kit. No torch."""

from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_serializer

from corekit.data_spec import DataSpec
from corekit.spec import Spec


class Undescribed(Spec):
    """A scale."""

    type: Literal["kit.undescribed"] = "kit.undescribed"
    start: float = 1.0


class OtherDefault(Spec):
    """A scale."""

    type: Literal["kit.otherdefault"] = "kit.otherdefault"
    start: float = Field(2.0, description="scale at the start")


class MissingField(Spec):
    """A scale that needs another number."""

    type: Literal["kit.missingfield"] = "kit.missingfield"
    start: float = Field(1.0, description="scale at the start")


class FieldTooMany(Spec):
    """A scale."""

    type: Literal["kit.fieldtoomany"] = "kit.fieldtoomany"
    start: float = Field(1.0, description="scale at the start")
    hidden: int = Field(8, description="not taken")


class Lenient(Spec):
    """A scale."""

    model_config: ClassVar[Any] = ConfigDict(extra="ignore")
    type: Literal["kit.lenient"] = "kit.lenient"
    start: float = Field(1.0, description="scale at the start")


class LosesItself(Spec):
    """A scale."""

    type: Literal["kit.losesitself"] = "kit.losesitself"
    start: float = Field(1.0, description="scale at the start")

    @field_serializer("start")
    def _rounded(self, value: float) -> float:
        return value + 1


class WrongShape(Spec):
    """A scale."""

    type: Literal["kit.wrongshape"] = "kit.wrongshape"
    start: float = Field(1.0, description="scale at the start")

    def shape(self, event_shape: Any, context_shape: Any = None) -> Any:
        return (*event_shape, 1)


class WrongData(Spec):
    """Points of two numbers, it says of three."""

    type: Literal["kit.wrongdata"] = "kit.wrongdata"

    def data_spec(self) -> DataSpec:
        return DataSpec((3,), size=20)
