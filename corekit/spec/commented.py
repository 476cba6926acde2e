"""Write a spec with comments: what each field means, and the defaults of those left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from corekit.registry import registry
from corekit.spec import describe
from corekit.spec.base import Section
from corekit.spec.dump import dump_value
from corekit.spec.parts import slot_kind
from corekit.spec.run import RunSpec
from corekit.spec.slots import spec_class

Line = tuple[str, str]  # what is written, and the comment behind it

_WIDEST = 46  # columns before the comments of a block, unless a line is longer

_HEAD = """\
# {summary}
#
#     corekit train {name}
#
# A line like `# seed: 0` is a default: remove the `# ` in front of it to change it.
# `corekit components` lists what else can be named, `corekit show NAME` its fields.
"""


def commented(spec: Mapping[str, Any], name: str = "spec.yaml") -> str:
    """A spec as YAML: what it says, then every other field as a comment with its default.

    Args:
        spec: plain data, valid as a `RunSpec`
        name: of the file, for the line that trains it
    """
    model = describe.summary(spec_class("model", spec["model"]["type"]))
    text = _HEAD.format(summary=model.partition("\n")[0], name=name)
    for doc in describe.fields(RunSpec):
        lines = _aligned(list(_field(RunSpec, doc, spec, "")))
        text += "\n" + "".join(f"{line}\n" for line in lines)
    return text


def _fields(section: type[Section], values: Mapping[str, Any], indent: str) -> Iterator[Line]:
    for doc in describe.fields(section):
        yield from _field(section, doc, values, indent)


def _field(
    section: type[Section], doc: describe.FieldDoc, values: Mapping[str, Any], indent: str
) -> Iterator[Line]:
    """The line of a field; below it, those of the component or the section that it holds."""
    if doc.name not in values:
        yield f"{indent}# {doc.name}: {_flow(doc.default)}", doc.description
        return
    value, field = values[doc.name], section.model_fields[doc.name]
    kind, annotation = slot_kind(field), field.annotation
    inner = f"{indent}  "
    if isinstance(value, Mapping) and kind is not None:
        yield f"{indent}{doc.name}:", doc.description
        component = registry().component(kind, value["type"])
        yield f"{inner}type: {component.name}", component.summary
        yield from _fields(spec_class(kind, component.name), value, inner)
    elif kind is None and isinstance(annotation, type) and issubclass(annotation, Section):
        yield f"{indent}{doc.name}:", doc.description
        yield from _fields(annotation, value, inner)
    else:
        yield f"{indent}{doc.name}: {_flow(value)}", doc.description


def _flow(value: Any) -> str:
    """On one line."""
    return dump_value([value], one_line=True).strip().removeprefix("[").removesuffix("]")


def _aligned(lines: list[Line]) -> list[str]:
    widest = max(len(code) for code, _ in lines)
    column = min(widest, _WIDEST)
    return [f"{code:{column}}  # {comment}" if comment else code for code, comment in lines]
