"""Slots: places in a spec that any registered component of a kind may fill.

A slot asks the registry while it validates. Unlike a discriminated union of all known specs it
needs no list of members, nests without limit, gives the paths that the YAML has, and imports the
plugins that a spec names and no others.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, SerializationInfo, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from corekit.errors import PluginError, RegistryLookup
from corekit.registry import registry
from corekit.spec.base import Spec, problem


@dataclass(frozen=True)
class Slot:
    """Marks a field that holds the spec of a component: `Annotated[Spec, Slot("prior")]`.

    Accepted are a mapping with a `type`, a bare name (which is `{type: name}`), and in Python
    an instance of the component's spec class.
    """

    kind: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validate with `self.validate`; write the `type` whatever else is left out."""
        serialize = core_schema.plain_serializer_function_ser_schema(_dump, info_arg=True)
        return core_schema.no_info_plain_validator_function(self.validate, serialization=serialize)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """A placeholder: the members of a kind are known when the schema is written, not here."""
        return {"x-corekit-kind": self.kind}

    def validate(self, value: Any) -> Spec:
        """Return the spec that `value` stands for.

        Raises:
            PydanticCustomError: it is no spec of a component of this kind
            ValidationError: it is one, with mistakes inside
        """
        if isinstance(value, Spec):
            return self._instance(value)
        if isinstance(value, str):
            value = {"type": value}
        if not isinstance(value, Mapping):
            rule = f"must be the name of one {self.kind}, or a mapping with the key 'type'"
            raise problem("component_form", f"{rule}, got {_short(value)}")
        if "type" not in value:
            raise self._no_type(value)
        try:
            return spec_class(self.kind, value["type"]).model_validate(value)
        except PluginError as error:
            raise _at_type(_unusable(error), value["type"]) from None

    def _instance(self, value: Spec) -> Spec:
        try:
            expected = spec_class(self.kind, value.type)
        except PluginError as error:
            raise _unusable(error) from None
        if type(value) is not expected:
            rule = f"must be a {expected.__name__}, the spec of {self.kind} {value.type!r}"
            raise problem("component_form", f"{rule}, got a {type(value).__name__}")
        return value

    def _no_type(self, value: Mapping[str, Any]) -> PydanticCustomError:
        near = difflib.get_close_matches("type", map(str, value), 1)
        hint = f" Is {near[0]!r} meant to be 'type'?" if near else ""
        known = ", ".join(registry().names(self.kind)) or "none"
        message = f"missing key 'type', which {self.kind} it is.{hint} Installed: {known}."
        return problem("component_type_missing", message)


@dataclass(frozen=True)
class OneOrMany:
    """Marks a list of slots that may be written as one: `of: linear` for `of: [linear]`."""

    kind: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Put a single component in a list; the path of a mistake in it has no index."""
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """The list, or one of its items."""
        many = handler(schema)
        return {"if": {"type": "array"}, "then": many, "else": many["items"]}

    def _validate(self, value: Any, validate_list: core_schema.ValidatorFunctionWrapHandler) -> Any:
        if isinstance(value, list | tuple):
            return validate_list(value)
        return [Slot(self.kind).validate(value)]


def spec_class(kind: str, name: Any) -> type[Spec]:
    """The spec class of an installed component.

    Raises:
        PluginError: it is not installed, cannot be imported, or is no `Spec` of that name
    """
    if not isinstance(name, str):
        raise RegistryLookup(f"type must be the name of one {kind}, got {name!r}.")
    component = registry().component(kind, name)
    loaded = registry().load_spec(component)
    if not (isinstance(loaded, type) and issubclass(loaded, Spec)):
        raise PluginError(f"{component.spec} must be a subclass of corekit.spec.Spec.")
    declared = loaded.model_fields["type"].default
    if declared != name:
        raise PluginError(f"{component.spec} must have the type {name!r}, got {declared!r}.")
    return loaded


def _unusable(error: PluginError) -> PydanticCustomError:
    misspelt = isinstance(error, RegistryLookup) and not error.plugin_at_fault
    suggestions = error.suggestions if isinstance(error, RegistryLookup) else ()
    code, exit_code = ("unknown_component", 3) if misspelt else ("plugin", error.exit_code)
    return problem(code, str(error), suggestions=suggestions, exit_code=exit_code)


def _at_type(error: PydanticCustomError, name: Any) -> ValidationError:
    """Point at the value of `type`, not at the whole mapping."""
    details = InitErrorDetails(type=error, loc=("type",), input=name)
    return ValidationError.from_exception_data("component", [details])


def _dump(value: Spec, info: SerializationInfo) -> dict[str, Any]:
    dumped = value.model_dump(
        mode=info.mode,
        exclude_unset=info.exclude_unset,
        exclude_defaults=info.exclude_defaults,
        exclude_none=info.exclude_none,
        round_trip=info.round_trip,
    )
    return {"type": value.type, **dumped}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


ModelSlot = Annotated[Spec, Slot("model")]
BijectorSlot = Annotated[Spec, Slot("bijector")]
UnivariateSlot = Annotated[Spec, Slot("univariate")]
StochasticSlot = Annotated[Spec, Slot("stochastic")]
NetworkSlot = Annotated[Spec, Slot("network")]
NoiseScheduleSlot = Annotated[Spec, Slot("noise_schedule")]
DenoiserSlot = Annotated[Spec, Slot("denoiser")]
DenoisingLossSlot = Annotated[Spec, Slot("denoising_loss")]
TimestepSamplerSlot = Annotated[Spec, Slot("timestep_sampler")]
SamplerSlot = Annotated[Spec, Slot("sampler")]
EncoderSlot = Annotated[Spec, Slot("encoder")]
PosteriorSlot = Annotated[Spec, Slot("posterior")]
LikelihoodSlot = Annotated[Spec, Slot("likelihood")]
QuantizerSlot = Annotated[Spec, Slot("quantizer")]
PriorSlot = Annotated[Spec, Slot("prior")]
DecoderSlot = Annotated[Spec, Slot("decoder")]
LossSlot = Annotated[Spec, Slot("loss")]
DatasetSlot = Annotated[Spec, Slot("dataset")]
MetricSlot = Annotated[Spec, Slot("metric")]
OptimizerSlot = Annotated[Spec, Slot("optimizer")]
LrScheduleSlot = Annotated[Spec, Slot("lr_schedule")]
CallbackSlot = Annotated[Spec, Slot("callback")]
