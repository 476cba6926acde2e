"""YAML 1.2 core values with positions.

PyYAML speaks YAML 1.1, where `1e-4` is a string, `no` is false and `12:30` is 750. Here the
node tree of PyYAML is read with the rules of YAML 1.2, and every value keeps its line and column.
Refused are duplicate keys, merge keys (`<<`), tags other than the core ones, and anchors that
contain themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from corekit.errors import Path, Position, SpecProblem

_TAG = "tag:yaml.org,2002:"
_MAX_DEPTH = 100  # a component nests one or two deep; Python's own limit comes at about 180
_MAX_VALUES = 100_000  # a few anchors inside each other can stand for billions

# tag, pattern, first characters: the core schema, YAML 1.2.2 section 10.3.2
CORE_SCHEMA = [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
]


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The YAML 1.2 core schema instead of YAML 1.1."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


class Dumper(yaml.SafeDumper):
    """Quotes what the loader would not read back as a string."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice twice."""
        return True


for _tag, _pattern, _first in CORE_SCHEMA:
    for _class in (_Loader, Dumper):
        _class.add_implicit_resolver(_TAG + _tag, re.compile(f"(?:{_pattern})$"), _first)


@dataclass(frozen=True)
class Tree:
    """A value that knows where it was written; mappings and lists hold trees."""

    value: Any
    at: Position
    key_at: Position | None = None  # of the key in front of it

    def plain(self) -> Any:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
        """Every value with its path."""
        yield path, self
        if isinstance(self.value, dict):
            for key, child in self.value.items():
                yield from child.walk((*path, key))
        elif isinstance(self.value, list):
            for index, child in enumerate(self.value):
                yield from child.walk((*path, index))


def parse(text: str, file: str) -> tuple[Tree | None, list[SpecProblem]]:
    """Read one document; None where there is nothing that could be checked further."""
    lines = text.splitlines()

    def position(mark: Any) -> Position:
        source = lines[mark.line] if mark.line < len(lines) else ""
        return Position(file, mark.line + 1, mark.column + 1, source)

    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            empty = SpecProblem("the file is empty", position=Position(file, 1, 1), code="empty")
            return None, [empty]
        reader = _Reader(position)
        return reader.tree(root, (), ()), reader.problems
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return None, [_syntax(error, position(mark) if mark else Position(file, 1, 1))]
    except yaml.reader.ReaderError as error:
        message = f"YAML: the character {error.character!r} is not allowed"
        return None, [SpecProblem(message, position=Position(file, 1, 1), code="yaml")]
    except (RecursionError, _TooLarge) as error:
        what = "has too many values" if isinstance(error, _TooLarge) else "is nested too deeply"
        message = f"the document {what}"
        return None, [SpecProblem(message, position=Position(file, 1, 1), code="yaml")]


def _syntax(error: yaml.MarkedYAMLError, position: Position) -> SpecProblem:
    message = " ".join(part for part in (error.context, error.problem) if part)
    if "\t" in position.source[: position.column]:
        message += ". Indent with spaces: YAML allows no tabs"
    return SpecProblem(f"YAML syntax: {message}", position=position, code="yaml")


class _TooLarge(Exception):
    pass


class _Reader:
    """Turns nodes into trees and collects what is not allowed."""

    def __init__(self, position: Any) -> None:
        self.position = position
        self.problems: list[SpecProblem] = []
        self.values = 0

    def problem(self, node: yaml.Node, path: Path, code: str, message: str) -> None:
        at = self.position(node.start_mark)
        self.problems.append(SpecProblem(message, path, at, code))

    def tree(
        self, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...], key: Any = None
    ) -> Tree:
        self.values += 1
        if self.values > _MAX_VALUES:
            raise _TooLarge
        if len(above) > _MAX_DEPTH:
            raise RecursionError
        value: Any = None
        if any(node is other for other in above):
            self.problem(node, path, "yaml", "an anchor must not contain itself")
        elif isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            value = self.mapping(node, path, (*above, node))
        elif isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            value = [
                self.tree(child, (*path, index), (*above, node))
                for index, child in enumerate(node.value)
            ]
        elif isinstance(node, yaml.ScalarNode):
            value = self.scalar(node, path)
        else:
            self.bad_tag(node, path)
        key_at = self.position(key.start_mark) if key else None
        return Tree(value, self.position(node.start_mark), key_at)

    def mapping(
        self, node: yaml.MappingNode, path: Path, above: tuple[yaml.Node, ...]
    ) -> dict[str, Tree]:
        found: dict[str, Tree] = {}
        for key, child in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.problem(key, path, "yaml", "a key must be a word, got a list or a mapping")
            elif key.value == "<<":
                advice = "merge keys (<<) are YAML 1.1; use `extends:` or repeat the keys"
                self.problem(key, path, "merge_key", advice)
            elif key.value in found:
                first = found[key.value].key_at
                line = first.line if first else "?"
                message = f"duplicate key {key.value!r}; it is also on line {line}"
                self.problem(key, (*path, key.value), "duplicate_key", message)
            else:
                found[key.value] = self.tree(child, (*path, key.value), above, key)
        return found

    def scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        text = node.value
        try:
            match node.tag.removeprefix(_TAG):
                case "str":
                    return text
                case "null":
                    return None
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "int":
                    octal_or_hex = text.startswith(("0o", "0x"))
                    return int(text, 0 if octal_or_hex else 10)
                case "float":
                    return float(re.sub(r"\.(inf|nan)", r"\1", text.lower()))
        except (ValueError, KeyError):
            name = node.tag.removeprefix(_TAG)
            self.problem(node, path, "yaml", f"must be of the tag !!{name}, got {text!r}")
            return text
        self.bad_tag(node, path)
        return text

    def bad_tag(self, node: yaml.Node, path: Path) -> None:
        tag = node.tag.replace(_TAG, "!!")
        self.problem(node, path, "tag", f"the tag {tag} is not allowed: a spec holds plain values")
