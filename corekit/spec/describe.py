"""Describe a spec class to people: for `corekit show` and the reference pages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from corekit.spec.base import Section, Spec
from corekit.spec.slots import Slot

_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


@dataclass(frozen=True)
class FieldDoc:
    """One field: how it is written, not how it is annotated."""

    name: str
    type: str
    required: bool
    default: Any  # plain data; None where required
    description: str


def fields(spec: type[Section]) -> list[FieldDoc]:
    """The fields in their order, without `type`."""
    return [
        FieldDoc(
            name=name,
            type=type_text(field.annotation, tuple(field.metadata)),
            required=field.is_required(),
            default=None if field.is_required() else _plain(_default(field)),
            description=field.description or "",
        )
        for name, field in spec.model_fields.items()
        if not (name == "type" and issubclass(spec, Spec))
    ]


def summary(spec: type[Section]) -> str:
    """The docstring."""
    return inspect.getdoc(spec) or ""


def example(spec: type[Section]) -> dict[str, Any]:
    """The smallest mapping that says something: the type, and an example of what is required."""
    shown: dict[str, Any] = {}
    for name, field in spec.model_fields.items():
        if name == "type" and issubclass(spec, Spec):
            shown[name] = field.default
        elif field.is_required():
            shown[name] = field.examples[0] if field.examples else f"<{name}>"
    return shown


def type_text(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """A type in words: `list of bijector`, `int ≥ 1 or null`."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return type_text(inner, (*more, *metadata))
    slots = [entry for entry in metadata if isinstance(entry, Slot)]
    if slots:
        return slots[0].kind
    members = get_args(annotation)
    if len(members) == 2 and members[1] is type(None):  # the bounds are those of the first
        return f"{type_text(members[0], metadata)} or null"
    return _bare_text(annotation) + _bounds(metadata)


def _bare_text(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "null"
    if annotation is Any:
        return "anything"
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin in (list, set, frozenset) or (origin is tuple and arguments[-1:] == (...,)):
        return f"list of {type_text(arguments[0])}"
    if origin is tuple:
        return f"list of {len(arguments)}: " + ", ".join(map(type_text, arguments))
    if origin is dict:
        return f"mapping of {type_text(arguments[0])} to {type_text(arguments[1])}"
    if arguments:  # a union
        return " or ".join(map(type_text, arguments))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    name = str(annotation.__name__)
    return {"str": "text", "bool": "true or false"}.get(name, name)


def _bounds(metadata: tuple[Any, ...]) -> str:
    found = []
    for entry in _unpacked(metadata):
        # pydantic gathers some bounds in one entry, annotated_types has one entry for each
        for name, sign in _BOUNDS.items():
            value = getattr(entry, name, None)
            if value is not None:
                found.append(f"{sign} {value}")
    return f" {', '.join(found)}" if found else ""


def _unpacked(metadata: tuple[Any, ...]) -> Iterator[Any]:
    """The entries, those inside a nested `Annotated[int, Field(ge=1)]` included."""
    for entry in metadata:
        yield from entry.metadata if isinstance(entry, FieldInfo) else [entry]


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True, validated_data={})


def _plain(value: Any) -> Any:
    """A default as it is written in YAML; a component with its own defaults is its name."""
    if isinstance(value, Spec):
        changed = value.model_dump(mode="json", exclude_defaults=True)
        return {"type": value.type, **changed} if changed else value.type
    if isinstance(value, Section):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value
