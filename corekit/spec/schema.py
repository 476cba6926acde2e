"""JSON Schema of a spec file, for editors: completion, descriptions, and errors while typing.

A slot is a chain of `if the type is NAME then $ref`, which gives an editor one exact error where a
`oneOf` of a hundred components gives a hundred vague ones. It is draft 7, which YAML language
servers know best. What a schema cannot say (shapes, files, one field against another) is for
`check_spec`.

A file that `extends` another is a part of a spec: there a block may lack what its base has, so
every definition comes twice, whole and in part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from corekit.errors import PluginError
from corekit.registry import Component, registry
from corekit.spec import describe
from corekit.spec.base import Section
from corekit.spec.run import RunSpec
from corekit.spec.slots import spec_class

DRAFT = "http://json-schema.org/draft-07/schema#"

Node = dict[str, Any]

_VALUES = ("const", "default", "enum", "examples", "required")  # words whose values are no schema


class Schema(NamedTuple):
    """A schema, and what is missing in it: components that cannot be imported."""

    document: Node
    complaints: list[str]


def run_schema() -> Schema:
    """The schema of a spec file, of every component that is installed."""
    writer = _Writer()
    whole, part = (writer.section("run", RunSpec, partial=p) for p in (False, True))
    bases = {
        "description": "a spec file that this one changes, or several in turn",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
    }
    writer.definitions[_key("run", partial=True)]["properties"]["extends"] = bases
    document = {
        "$schema": DRAFT,
        "title": "corekit spec",
        "if": {"type": "object", "required": ["extends"]},
        "then": part,
        "else": whole,
    }
    return writer.finished(document)


def slot_schema(kind: str) -> Schema:
    """The schema of one component of a kind."""
    writer = _Writer()
    return writer.finished({"$schema": DRAFT, "title": kind, **writer.slot(kind, partial=False)})


class _Generator(GenerateJsonSchema):
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default", "skipped-discriminator"}  # noqa: RUF012


class _Writer:
    """Collects definitions; one that is under way is referred to, so slots may nest for ever."""

    def __init__(self) -> None:
        self.definitions: dict[str, Node] = {}
        self.complaints: dict[str, None] = {}

    def finished(self, document: Node) -> Schema:
        definitions = {key: self.definitions[key] for key in sorted(self.definitions)}
        return Schema({**document, "definitions": definitions}, list(self.complaints))

    def slot(self, kind: str, *, partial: bool) -> Node:
        """A reference to the schema of whatever fills a slot of a kind."""
        key = _key(kind, partial=partial)
        if key not in self.definitions:
            self.definitions[key] = {}  # it is under way
            known = {c: self._component(c, partial) for c in registry().components(kind)}
            usable = {c: node for c, node in known.items() if node is not None}
            self.definitions[key] = _slot(kind, usable, self.definitions, partial)
        return {"$ref": f"#/definitions/{key}"}

    def _component(self, component: Component, partial: bool) -> Node | None:
        try:
            spec = spec_class(component.kind, component.name)
            key = f"{component.kind}:{component.name}"
            reference = self.section(key, spec, partial=partial)
        except (PluginError, PydanticInvalidForJsonSchema) as error:
            message = " ".join(str(error).split())
            self.complaints[f"{component.kind} {component.name!r} is left out: {message}"] = None
            return None
        node = self.definitions[_key(key, partial=partial)]
        node["title"] = component.name
        node.setdefault("description", component.summary)
        node["properties"]["type"] = {"const": component.name, "description": component.summary}
        node["required"] = list(dict.fromkeys(["type", *node["required"]]))
        return reference

    def section(self, name: str, spec: type[Section], *, partial: bool) -> Node:
        """A reference to the schema of a spec class."""
        key = _key(name, partial=partial)
        raw = spec.model_json_schema(schema_generator=_Generator)
        inner = raw.pop("$defs", {})
        self.definitions[key] = node = self._converted(raw, key, partial)
        node.setdefault("required", [])
        for field in describe.fields(spec):
            if not field.required and field.type != "section":
                node["properties"][field.name]["default"] = field.default
        for title, definition in inner.items():
            self.definitions[f"{key}:{title}"] = self._converted(definition, key, partial)
        return {"$ref": f"#/definitions/{key}"}

    def _converted(self, node: Any, key: str, partial: bool) -> Any:
        """What pydantic wrote, as draft 7, with slots and references filled in."""
        if isinstance(node, list):
            return [self._converted(item, key, partial) for item in node]
        if not isinstance(node, dict):
            return node
        new: Node = {}
        for word, value in node.items():
            if word == "properties":  # of any name, `title` and `default` too
                new[word] = {n: self._converted(v, key, partial) for n, v in value.items()}
            elif word in _VALUES:
                new[word] = value
            elif word != "title":  # the name of the field once more
                # A list is not merged with that of a base: what stands in it is whole.
                new[word] = self._converted(value, key, partial and word != "items")
        reference = new.pop("$ref", None)
        if reference is not None:
            return _referring({"$ref": reference.replace("#/$defs/", f"#/definitions/{key}:")}, new)
        if "x-corekit-kind" in new:
            return _referring(self.slot(new.pop("x-corekit-kind"), partial=partial), new)
        if "prefixItems" in new:
            new |= {"items": new.pop("prefixItems"), "additionalItems": False}
        if partial:
            new.pop("required", None)
        return _or_null(new)


def _key(name: str, *, partial: bool) -> str:
    """Of a definition; without `/`, which would be a step in a path to it."""
    return f"partial:{name}" if partial else name


def _referring(reference: Node, more: Node) -> Node:
    """With a description beside it: draft 7 ignores it there when validating, editors show it."""
    return {**{word: value for word, value in more.items() if word != "examples"}, **reference}


def _or_null(node: Node) -> Node:
    """`X or null` without anyOf, whose errors say that nothing fits and not what is wrong."""
    branches = node.get("anyOf", ())
    if len(branches) != 2 or branches[1] != {"type": "null"}:
        return node
    first = branches[0]
    rest = {key: value for key, value in node.items() if key != "anyOf"}
    if isinstance(first.get("type"), str) and not {"enum", "const"} & set(first):
        return {**first, **rest, "type": [first["type"], "null"]}
    return {**rest, "if": {"not": {"type": "null"}}, "then": first}


def _slot(
    kind: str, known: Mapping[Component, Node], definitions: Mapping[str, Node], partial: bool
) -> Node:
    """A bare name, or a mapping whose `type` decides."""
    described = f"a {kind}: its name, or a mapping with its `type`"
    if not known:
        return {"description": f"no {kind} is installed", "not": {}}
    names = {component.name: component.summary for component in known}
    bare = {
        component.name: component.summary
        for component, reference in known.items()
        if partial or _needs_nothing(definitions, reference)
    }
    chosen = [
        {
            "if": {"properties": {"type": {"const": component.name}}, "required": ["type"]},
            "then": reference,
        }
        for component, reference in known.items()
    ]
    mapping: Node = {"properties": {"type": _enum(names)}, "allOf": chosen}
    if not partial:
        mapping["required"] = ["type"]
    if not bare:
        return {"description": described, "type": "object", **mapping}
    return {
        "description": described,
        "type": ["string", "object"],
        "if": {"type": "object"},
        "then": mapping,
        "else": _enum(bare),
    }


def _needs_nothing(definitions: Mapping[str, Node], reference: Node) -> bool:
    """Whether a bare name is enough: nothing but the type is required."""
    key = reference["$ref"].removeprefix("#/definitions/")
    required: list[str] = definitions[key]["required"]
    return required == ["type"]


def _enum(names: Mapping[str, str]) -> Node:
    return {"enum": list(names), "enumDescriptions": list(names.values())}
