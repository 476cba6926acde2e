"""Does the running corekit lie in the range that a distribution's metadata asks for?

pip sees to it, unless told `--no-deps`. `packaging` would take as long to import as everything else
that `corekit plugins` does, so the few forms that matter are read here; what is not understood
(markers, epochs) is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Release = tuple[int, ...]

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^]]*\])?\s*\(?([^;)]*)\)?\s*(;.*)?")
_CLAUSE = re.compile(r"\s*(~=|===?|!=|<=|>=|<|>)\s*v?(\d+(?:\.\d+)*)(\.\*)?[^,!]*")
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)*)(?!!)")

_HOLDS: dict[str, Callable[[Release, Release], bool]] = {
    "<": lambda ours, theirs: ours < theirs,
    "<=": lambda ours, theirs: ours <= theirs,
    ">": lambda ours, theirs: ours > theirs,
    ">=": lambda ours, theirs: ours >= theirs,
    "==": lambda ours, theirs: ours == theirs,
    "===": lambda ours, theirs: ours == theirs,
    "!=": lambda ours, theirs: ours != theirs,
}


def unmet(requirements: Iterable[str], name: str, version: str) -> str | None:
    """The first requirement on `name` that `version` does not meet; None where all are met.

    A pre-release counts as its release: 0.4.0.dev1 meets `>=0.4`, and not `<0.4`.

    Example:
        >>> unmet(["torch>=2.6", "corekit<0.4,>=0.3"], "corekit", "0.1.0")
        'corekit<0.4,>=0.3'
        >>> unmet(["corekit>=0.1; extra == 'docs'"], "corekit", "0.0.1") is None
        True
    """
    ours = _RELEASE.match(version)
    for text in requirements:
        found = _REQUIREMENT.fullmatch(text)
        if ours is None or found is None or found[3] or found[1].lower() != name:
            continue
        clauses = [clause for clause in found[2].split(",") if clause.strip()]
        if not all(_met(_numbers(ours[1]), clause) for clause in clauses):
            return f"{found[1]}{found[2].strip()}"
    return None


def _met(ours: Release, clause: str) -> bool:
    found = _CLAUSE.fullmatch(clause)
    if found is None:
        return True
    sign, text, star = found.groups()
    theirs = _numbers(text)
    if sign == "~=":  # at least this, and the same but for the last number
        return _met(ours, f">={text}") and _cut(ours, len(theirs) - 1) == theirs[:-1]
    if star:
        ours = _cut(ours, len(theirs))
    return _HOLDS[sign](*_padded(ours, theirs))


def _numbers(text: str) -> Release:
    return tuple(map(int, text.split(".")))


def _cut(release: Release, length: int) -> Release:
    return (*release, *(0,) * length)[:length]


def _padded(a: Release, b: Release) -> tuple[Release, Release]:
    """Of the same length: 0.3 is 0.3.0."""
    width = max(len(a), len(b))
    return _cut(a, width), _cut(b, width)
