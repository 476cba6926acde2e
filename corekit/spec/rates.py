"""A field that holds one rate or several: `ema: 0.999`, `ema: [0.99, 0.9999]`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, SchemaValidator, core_schema

_RATE = core_schema.float_schema(gt=0, lt=1, allow_inf_nan=False)
_ONE = SchemaValidator(core_schema.nullable_schema(_RATE))


@dataclass(frozen=True)
class OneOrMoreRates:
    """Numbers between 0 and 1. A mistake is told by the rule of the form that was written."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """A list where a list is given, else a number or nothing."""
        many = core_schema.list_schema(_RATE, min_length=1)
        as_it_is = core_schema.plain_serializer_function_ser_schema(lambda value: value)
        return core_schema.no_info_wrap_validator_function(_validate, many, serialization=as_it_is)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """The same choice for editors, without anyOf, whose errors say nothing."""
        bounds = {"exclusiveMinimum": 0, "exclusiveMaximum": 1}
        many = {"type": "array", "minItems": 1, "items": {"type": "number", **bounds}}
        one = {"type": ["number", "null"], **bounds}
        return {"if": {"type": "array"}, "then": many, "else": one}


def _validate(value: Any, validate_list: core_schema.ValidatorFunctionWrapHandler) -> Any:
    return validate_list(value) if isinstance(value, (list, tuple)) else _ONE.validate_python(value)


Rates = Annotated[float | list[float] | None, OneOrMoreRates()]
