"""Every error that corekit raises, each with the exit code of the command line.

::

    CorekitError            1   something went wrong that has no class of its own
    ├── UsageError          2   the command or the call is wrong: a spec file that is not there
    ├── NoDensity           2   a likelihood was asked for where none exists   (TypeError)
    ├── SpecError           3   the spec is wrong; `.problems` lists everything (ValueError)
    ├── ShapeError          3   two parts do not fit; `.path` says where        (ValueError)
    ├── PluginError         4   a plugin is missing, broken or in conflict      (LookupError)
    │   └── RegistryLookup  4   no component of that kind and name
    ├── DataError           5   a data file is missing or unreadable            (ValueError)
    ├── DivergedError       6   the loss or a gradient became NaN or infinite   (ArithmeticError)
    └── CheckpointError     7   a checkpoint is damaged or of another model     (ValueError)

Exit code 75 means "preempted after saving: start me again", 130 "interrupted"; neither is an error.

A message reads `<Who>: <what> must <rule>, got <value>. <what is available>. <what to do>.`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


def format_path(path: Path) -> str:
    """Write a path as people do: `("of", 0, "hidden")` becomes `of[0].hidden`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


class Position(NamedTuple):
    """Where a value was written: line and column count from one."""

    file: str
    line: int
    column: int
    source: str = ""  # the whole line, for the caret below it

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def caret(self) -> str:
        """The source line and, below it, a caret; empty where the source is unknown."""
        if not self.source:
            return ""
        blank = re.sub(r"[^\t]", " ", self.source[: self.column - 1])  # a tab stays as wide
        return f"\n    {self.source}\n    {blank}^"


class SpecProblem(NamedTuple):
    """One mistake in a spec: what, where, and what may have been meant."""

    message: str
    path: Path = ()
    position: Position | None = None
    code: str = "invalid"
    suggestions: tuple[str, ...] = ()
    exit_code: int = 3  # 3: the spec, 4: a plugin, 5: a data file
    given_by: Path | None = None  # the other place of a mismatch
    given_at: Position | None = None

    def __str__(self) -> str:
        at = self.position
        text = _located(at, self.path, self.message) + (at.caret() if at else "")
        if self.given_by is not None:
            other = self.given_at
            text += "\n  " + _located(other, self.given_by, "gives the shape")
            text += other.caret() if other else ""
        return text

    def to_dict(self) -> dict[str, Any]:
        """The problem as JSON, for editors and scripts; paths as people write them."""
        facts = {**_place_dict(self.path, self.position), "code": self.code}
        facts |= {"message": self.message, "suggestions": list(self.suggestions)}
        if self.given_by is not None:
            facts["given_by"] = _place_dict(self.given_by, self.given_at)
        return facts


def _located(position: Position | None, path: Path, message: str) -> str:
    return ": ".join(part for part in (str(position or ""), format_path(path), message) if part)


def _place_dict(path: Path, position: Position | None) -> dict[str, Any]:
    return {
        "file": position.file if position else None,
        "line": position.line if position else None,
        "column": position.column if position else None,
        "path": format_path(path),
    }


class CorekitError(Exception):
    """Anything that corekit raises on purpose."""

    exit_code = 1


class UsageError(CorekitError):
    """The command line or the call is wrong."""

    exit_code = 2


class NoDensity(CorekitError, TypeError):
    """A likelihood was asked of something that has none."""

    exit_code = 2


class SpecError(CorekitError, ValueError):
    """A spec is wrong. `problems` holds every mistake; the message is all of them, in order.

    The exit code is the smallest of the problems': a mistake in the spec (3) comes before a
    plugin that is not there (4), and that before a missing data file (5).
    """

    exit_code = 3

    def __init__(self, *problems: SpecProblem | str) -> None:
        super().__init__(*problems)
        self.problems: tuple[SpecProblem, ...] = tuple(
            SpecProblem(problem) if isinstance(problem, str) else problem for problem in problems
        )
        self.exit_code = min((problem.exit_code for problem in self.problems), default=3)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


class ShapeError(CorekitError, ValueError):
    """Two parts do not fit together.

    `path` is where the mismatch shows and `given_by` where the shape came from, both seen from
    whoever catches the error: every level that it passes on its way up puts its own name in
    front (`corekit.spec.place`).
    """

    exit_code = 3

    def __init__(self, message: str, *, path: Path = (), given_by: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.given_by = given_by

    def __str__(self) -> str:
        where = f"{format_path(self.path)}: " if self.path else ""
        source = f" The shape is given by {format_path(self.given_by)}." if self.given_by else ""
        return f"{where}{self.message}{source}"


class PluginError(CorekitError, LookupError):
    """A plugin is missing, broken, or in conflict with another."""

    exit_code = 4


class RegistryLookup(PluginError):
    """No component of that kind and name.

    `suggestions` are the nearest names that exist. `plugin_at_fault` tells a plugin that is
    missing, broken, disabled or in conflict (true) from a name that is spelt wrong (false).
    """

    def __init__(
        self, message: str, *, suggestions: Sequence[str] = (), plugin_at_fault: bool = False
    ) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)
        self.plugin_at_fault = plugin_at_fault


class DataError(CorekitError, ValueError):
    """A data file is missing, unreadable, or not what it claims to be."""

    exit_code = 5


class DivergedError(CorekitError, ArithmeticError):
    """Training stopped because a loss or a gradient is not finite."""

    exit_code = 6


class CheckpointError(CorekitError, ValueError):
    """A checkpoint is damaged, or belongs to another model."""

    exit_code = 7
