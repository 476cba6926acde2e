"""Read a spec file, report every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from corekit.errors import Path, Position, SpecError, SpecProblem, UsageError, format_path
from corekit.registry import registry
from corekit.spec.explain import explain
from corekit.spec.merge import apply_set, merge
from corekit.spec.run import RunSpec
from corekit.spec.yaml12 import Tree, parse


@dataclass(frozen=True)
class LoadedSpec:
    """A spec, and where each of its values was written.

    Args:
        spec: the spec itself
        text: the file as it was read
        positions: path of a value to where it stands, in whichever file
        files: every file that was read, bases first
        sets: the `path=value` arguments that were applied
    """

    spec: RunSpec
    text: str
    positions: Mapping[Path, Position] = field(repr=False)
    files: tuple[str, ...]
    sets: tuple[str, ...] = ()


def load_spec(path: str | FilePath, sets: Sequence[str] = ()) -> LoadedSpec:
    """Read, merge and validate a spec file. Shapes and data are for `check_spec`.

    Args:
        path: the YAML file; `extends:` in it names base files, relative to it
        sets: `path=value` arguments that overrule the file, the value being YAML

    Raises:
        UsageError: the file is not there, or a `path=value` leads nowhere
        SpecError: anything wrong in the spec; lists all of it
        PluginError: plugins have problems, and `COREKIT_STRICT_PLUGINS` is set
    """
    registry()  # what is wrong with all plugins together is no problem of the spec
    files = _Files()
    tree = files.read(FilePath(path))
    problems = list(files.problems)
    for number, argument in enumerate(sets, start=1):
        try:
            tree = apply_set(tree, argument, number) if tree is not None else None
        except SpecError as error:
            problems += error.problems
    spec = None
    if tree is not None:
        positions = {where: leaf.at for where, leaf in tree.walk()}
        keys = {where: leaf.key_at for where, leaf in tree.walk() if leaf.key_at}
        data = tree.plain()
        try:
            spec = RunSpec.model_validate(data)
        except ValidationError as error:
            problems += [_hinted(p, sets) for p in explain(error, data, positions, keys)]
    if spec is None or problems:
        raise SpecError(*sorted(problems, key=files.order))
    return LoadedSpec(
        spec, files.main_text, positions, tuple(dict.fromkeys(files.names)), tuple(sets)
    )


def run_spec(spec: Mapping[str, Any] | RunSpec) -> RunSpec:
    """Validate a spec given as a mapping, in Python; components may be instances.

    Raises:
        SpecError: anything wrong in it; lists all of it

    Example:
        >>> flow = {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": "linear"}}
        >>> run_spec({"version": 1, "model": flow, "data": "shapes3d"}).train.steps
        10000
    """
    registry()
    try:
        return RunSpec.model_validate(spec)
    except ValidationError as error:
        raise SpecError(*explain(error, spec)) from None


def _hinted(problem: SpecProblem, sets: Sequence[str]) -> SpecProblem:
    """Say where an unknown key comes from that `--set ….type=` left behind."""
    block = format_path(problem.path[:-1])
    if problem.code != "unknown_key" or not any(s.startswith(f"{block}.type=") for s in sets):
        return problem
    hint = f"; --set {block}.type=… keeps the other keys, replace the block: {block}={{type: …}}"
    return problem._replace(message=problem.message + hint)


class _Files:
    """Reads a file and, before it, the files that it extends."""

    def __init__(self) -> None:
        self.problems: list[SpecProblem] = []
        self.names: list[str] = []  # in the order of merging
        self.main_text = ""

    def read(self, path: FilePath) -> Tree | None:
        try:
            self.main_text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self._problem(f"the spec {_not_text(error)}", Position(str(path), 1, 1))
            return None
        except OSError as error:
            raise UsageError(f"the spec cannot be read: {path}: {error.strerror}.") from None
        return self._tree(path, self.main_text, (path.resolve(),))

    def order(self, problem: SpecProblem) -> tuple[int, int, int]:
        """Problems of the file asked for come first, then by line."""
        at = problem.position
        if at is None:
            return (len(self.names) + 1, 0, 0)
        known = at.file in self.names
        rank = len(self.names) - 1 - self.names.index(at.file) if known else len(self.names)
        return (rank, at.line, at.column)

    def _tree(self, path: FilePath, text: str, above: tuple[FilePath, ...]) -> Tree | None:
        tree, problems = parse(text, str(path))
        self.problems += problems
        if tree is not None and not isinstance(tree.value, dict):
            self._problem(f"a spec must be a mapping, got {tree.plain()!r:.40}", tree.at)
            tree = None
        if tree is None:
            self.names.append(str(path))
            return None
        base = self._base(path, tree, above)
        self.names.append(str(path))
        own = {key: child for key, child in tree.value.items() if key != "extends"}
        tree = replace(tree, value=own)
        return merge(base, tree) if base is not None else tree

    def _base(self, path: FilePath, tree: Tree, above: tuple[FilePath, ...]) -> Tree | None:
        """The files that `tree` extends, merged in their order."""
        named = tree.value.get("extends")
        merged: Tree | None = None
        items = named.value if named is not None and isinstance(named.value, list) else [named]
        for item in items:
            base = self._one_base(path, item, above) if item is not None else None
            if base is not None:
                merged = base if merged is None else merge(merged, base)
        return merged

    def _one_base(self, path: FilePath, item: Tree, above: tuple[FilePath, ...]) -> Tree | None:
        if not isinstance(item.value, str):
            rule = "must be the path of a file or a list of them"
            self._problem(f"{rule}, got {item.plain()!r}", item.at, ("extends",))
            return None
        file = path.parent / item.value
        if file.resolve() in above:
            circle = f"{item.value} extends this file, directly or through others"
            self._problem(circle, item.at, ("extends",))
            return None
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            self._problem(f"the base {_not_text(error)}", item.at, ("extends",))
            return None
        except OSError as error:
            reason = f"the base cannot be read: {file}: {error.strerror}"
            self._problem(reason, item.at, ("extends",))
            return None
        return self._tree(file, text, (*above, file.resolve()))

    def _problem(self, message: str, at: Position, path: Path = ()) -> None:
        self.problems.append(SpecProblem(message, path, at, "file"))


def _not_text(error: UnicodeDecodeError) -> str:
    return f"must be UTF-8 text: {error.reason} at byte {error.start}"
