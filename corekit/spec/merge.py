"""Put specs together: `extends:` in a file, `--set path=value` on the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from corekit.errors import Path, Position, SpecError, SpecProblem, UsageError
from corekit.spec.base import Section, Spec
from corekit.spec.yaml12 import Tree, parse


def merge(base: Tree, over: Tree) -> Tree:
    """Lay `over` on `base`, mapping into mapping; anything else replaces what was there.

    A block of another `type` replaces the block below it, keys and all. A bare name counts as
    `{type: name}`, so a file may add options to a component that its base only names.
    """
    if not isinstance(over.value, dict):
        return over
    below = _block(base).value if "type" not in over.value else base.value
    if not isinstance(below, dict):
        return over
    types = [tree["type"].value for tree in (below, over.value) if "type" in tree]
    if len(set(map(str, types))) > 1:
        return over
    merged = dict(below)
    for key, child in over.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return replace(over, value=merged)


def merge_plain(base: Any, over: Any) -> Any:
    """`merge` of plain data, or of specs in their place.

    Example:
        >>> merge_plain({"ema": 0.9, "optimizer": "adam"}, {"optimizer": {"lr": 0.1}})
        {'ema': 0.9, 'optimizer': {'type': 'adam', 'lr': 0.1}}
    """
    base, over = _plain(base), _plain(over)
    if not isinstance(over, Mapping):
        return over
    if isinstance(base, str):
        base = {"type": base}
    if not isinstance(base, Mapping):
        return over
    if len({str(tree["type"]) for tree in (base, over) if "type" in tree}) > 1:
        return over
    merged = {k: merge_plain(base[k], v) if k in base else v for k, v in over.items()}
    return {**base, **merged}


def _plain(value: Any) -> Any:
    """A section as what was written of it."""
    if not isinstance(value, Section):
        return value
    kind = {"type": value.type} if isinstance(value, Spec) else {}
    return {**kind, **value.model_dump(exclude_unset=True)}


def _block(tree: Tree) -> Tree:
    """A bare name as `{type: name}`."""
    if isinstance(tree.value, str):
        return replace(tree, value={"type": tree})
    return tree


def apply_set(tree: Tree, argument: str, number: int) -> Tree:
    """Return `tree` with one `path=value` of `--set` applied.

    Raises:
        UsageError: the argument has no `=`, or its path leads nowhere
        SpecError: the value is not YAML
    """
    text, equals, value_text = argument.partition("=")
    label = f"--set #{number}"
    if not equals:
        raise UsageError(f"{label}: must be path=value, got {argument!r}.")
    path = _parse_path(text, label, argument)
    offset = len(text) + 1
    value, problems = parse(value_text, label)
    if problems and value_text.strip():
        raise SpecError(*(_shifted(problem, argument, offset) for problem in problems))
    at = Position(label, 1, 1, argument)
    if value is None:
        new = Tree(None, at, at)  # `--set train.ema=` is null
    else:
        new = Tree(_relocated(value, argument, offset).value, at, at)
    return _replaced(tree, path, new, label)


def _parse_path(text: str, label: str, argument: str) -> Path:
    if not re.fullmatch(r"\w+(\.\w+|\[\d+\])*", text):
        example = "model.prior.bijector.of[0].hidden=64"
        raise UsageError(f"{label}: must be path=value like {example}, got {argument!r}.")
    return tuple(int(p[1:-1]) if p[0] == "[" else p for p in re.findall(r"\w+|\[\d+\]", text))


def _replaced(tree: Tree, path: Path, new: Tree, label: str) -> Tree:
    if not path:
        return new
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        if not (isinstance(tree.value, list) and part < len(tree.value)):
            has = f"{len(tree.value)} items" if isinstance(tree.value, list) else "no list"
            raise UsageError(f"{label}: there is no item [{part}]; the place has {has}.")
        items = list(tree.value)
        items[part] = _replaced(items[part], rest, new, label)
        return replace(tree, value=items)
    block = _block(tree) if tree.value is not None else replace(tree, value={})
    if not isinstance(block.value, dict):
        raise UsageError(f"{label}: there is no key {part!r} below {block.plain()!r:.40}.")
    child = block.value.get(part, Tree(None, new.at, new.at))
    child = _replaced(child, rest, new, label)
    return replace(block, value={**block.value, part: child})


def _shifted(problem: SpecProblem, argument: str, offset: int) -> SpecProblem:
    at = problem.position
    moved = Position(at.file, 1, at.column + offset, argument) if at else None
    return problem._replace(position=moved)


def _relocated(tree: Tree, argument: str, offset: int) -> Tree:
    """The same tree, its positions counted in the whole argument."""
    value = tree.value
    if isinstance(value, dict):
        value = {key: _relocated(child, argument, offset) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_relocated(child, argument, offset) for child in value]
    at = tree.at._replace(column=tree.at.column + offset, source=argument)
    key_at = tree.key_at
    if key_at is not None:
        key_at = key_at._replace(column=key_at.column + offset, source=argument)
    return Tree(value, at, key_at)
