"""Turn pydantic's errors into problems that say where, what, and what was allowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from corekit.errors import Path, Position, SpecProblem

_OUR_WORDS = ("unknown_key", "unknown_component", "plugin", "version")

# Shorter than pydantic's words, and without Python's names for what YAML has.
_RULES = {
    "int_type": "must be an integer",
    "int_parsing": "must be an integer",
    "int_from_float": "must be an integer",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must have at least {min_length} of them",
    "too_long": "must have at most {max_length} of them",
}


def explain(
    error: ValidationError,
    data: Any,
    positions: Mapping[Path, Position] | None = None,
    keys: Mapping[Path, Position] | None = None,
) -> list[SpecProblem]:
    """The problems behind a ValidationError of `data`.

    A value that every branch of a union refused is one problem.

    Args:
        error: what pydantic raised
        data: what was validated
        positions: where each value stands
        keys: where the key of each value stands
    """
    problems: list[SpecProblem] = []
    refused_by: dict[Path, int] = {}  # where a problem of a union stands in the list
    for detail in error.errors(include_url=False):
        path, is_branch = _data_path(detail["loc"], data, detail["type"] == "missing")
        found = _problem(detail, path, positions or {}, keys or {})
        if is_branch and path in refused_by:
            first = problems[refused_by[path]]
            both = f"{first.message}; or {found.message}"
            problems[refused_by[path]] = first._replace(message=both)
            continue
        if is_branch:
            refused_by[path] = len(problems)
        problems.append(found)
    return problems


def _problem(
    detail: Any, path: Path, positions: Mapping[Path, Position], keys: Mapping[Path, Position]
) -> SpecProblem:
    facts = detail.get("ctx") or {}
    code = detail["type"]
    at = keys.get(path) if code == "unknown_key" else None
    shown = path
    while at is None and shown:
        at = positions.get(shown)
        shown = shown[:-1]
    return SpecProblem(
        message=_message(detail),
        path=path,
        position=at or positions.get(()),
        code=code,
        suggestions=tuple(facts.get("suggestions", ())),
        exit_code=facts.get("exit_code", 3),
    )


def _message(detail: Any) -> str:
    kind, message, value = detail["type"], detail["msg"], detail["input"]
    if kind == "missing":
        return f"required key {detail['loc'][-1]!r} is missing"
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    if kind in _OUR_WORDS or kind.startswith("component_"):
        return str(message)
    if kind in _RULES:
        rule = _RULES[kind].format_map(detail.get("ctx") or {})
    else:
        rule = message.replace("Input should be", "must be", 1)
    return f"{rule}, got {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a mapping"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _data_path(location: Path, data: Any, missing: bool) -> tuple[Path, bool]:
    """The part of pydantic's location that exists in the data, and whether it was shortened.

    Pydantic puts the names of union branches between the keys.
    """
    path: list[str | int] = []
    shortened = False
    for index, part in enumerate(location):
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            if not (missing and index == len(location) - 1):
                shortened = True
                continue
        path.append(part)
    return tuple(path), shortened
