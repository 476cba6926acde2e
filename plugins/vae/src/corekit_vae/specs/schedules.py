"""Weights that may move with the optimizer step. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, GetCoreSchemaHandler, model_validator
from pydantic_core import CoreSchema, SchemaValidator, core_schema
from typing_extensions import Self

from corekit.spec.base import Section

_NUMBER = SchemaValidator(core_schema.float_schema(ge=0, allow_inf_nan=False))


class ScheduleSpec(Section):
    """A number that goes from one value to another with the optimizer step."""

    start: float = Field(0.0, ge=0, description="at the first step")
    end: float = Field(1.0, ge=0, description="where it goes, and stays")
    steps: int = Field(ge=1, description="until it is there; of cyclic, one cycle", examples=[1000])
    shape: Literal["linear", "cosine", "cyclic"] = Field(
        "linear", description="straight; half a cosine; straight, again and again"
    )
    delay: int = Field(0, ge=0, description="steps that it stays at the start before that")
    cycles: int | None = Field(
        None, ge=1, description="of cyclic: how often; null for as long as training goes on"
    )
    ramp: float = Field(
        0.5, gt=0, le=1, description="of cyclic: share of a cycle on the way; then it stays"
    )

    @model_validator(mode="after")
    def _only_a_cycle_has_its_options(self) -> Self:
        set_ = "cycles" if self.cycles is not None else "ramp" if self.ramp != 0.5 else None
        if self.shape != "cyclic" and set_:
            raise ValueError(f"{set_} must go with shape: cyclic, got {self.shape}.")
        return self


@dataclass(frozen=True)
class _NumberOrSchedule:
    """A number of at least 0, or a schedule. A mistake is told by the form that was written."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A schedule where a mapping is given, else a number."""
        return core_schema.no_info_wrap_validator_function(_validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """The same choice for editors, without anyOf, whose errors say nothing."""
        number, schedule = handler(schema)["anyOf"][:2]
        return {"if": {"type": "object"}, "then": schedule, "else": {**number, "minimum": 0}}


def _validate(value: Any, validate: core_schema.ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, ScheduleSpec):
        return value
    if isinstance(value, Mapping):
        return ScheduleSpec.model_validate(value)
    return _NUMBER.validate_python(value)


Scheduled = Annotated[float | ScheduleSpec, _NumberOrSchedule()]
"""A weight: a number, or a schedule of one."""
