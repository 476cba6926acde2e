"""Compare the components that made a checkpoint with those that are installed now."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from corekit import __version__
from corekit.errors import PluginError
from corekit.registry.catalogue import LOCAL, Registry

Origin = Mapping[str, str]  # what `Registry.provenance` gives
Changed = tuple[str, str, str, str]  # distribution and version, then and now

LEVELS = ("error", "warning", "note")


class Finding(NamedTuple):
    """One difference: an error cannot be loaded, a warning may compute something else."""

    level: str
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {self.message}"


def compare(stored: Sequence[Origin], found: Registry) -> list[Finding]:
    """What differs from when a checkpoint was made, the worst first; one line per package.

    ==================================================  =======
    now                                                 level
    ==================================================  =======
    the component is missing, broken or in conflict     error
    another distribution provides it                    warning
    another major version; of 0.x another minor one     warning
    another minor version                               note
    offered from Python, then and now                   note
    another patch, or the same                          nothing
    ==================================================  =======
    """
    missing: list[Finding] = []
    changed: dict[Changed, list[str]] = {}
    for then in stored:
        try:
            now = found.provenance(found.component(then["kind"], then["name"]))
        except PluginError as error:
            missing.append(Finding("error", _missing(then, error, found)))
        else:
            key = (then["distribution"], then["version"], now["distribution"], now["version"])
            changed.setdefault(key, []).append(f"{then['kind']} '{then['name']}'")
    differing = [
        Finding(level, f"{_words(level, *key)} ({', '.join(names)})")
        for key, names in changed.items()
        if (level := severity(*key)) is not None
    ]
    return [*missing, *sorted(differing, key=lambda finding: LEVELS.index(finding.level))]


def severity(distribution: str, version: str, now: str, version_now: str) -> str | None:
    """The level of one row of the table above that is no error; None where nothing is said.

    Example:
        >>> [severity("a", "1.2.0", "a", v) for v in ("2.0.0", "1.3.0", "1.2.1")]
        ['warning', 'note', None]
        >>> severity("a", "0.1.0", "a", "0.2.0")
        'warning'
    """
    if distribution != now:
        return "warning"
    if distribution == LOCAL:
        return "note"
    if version == version_now:
        return None
    then, later = _release(version), _release(version_now)
    if then is None or later is None or _series(then) != _series(later):
        return "warning"
    return "note" if then != later else None


def _release(version: str) -> tuple[int, int] | None:
    """Major and minor; None where it is no version."""
    numbers = re.match(r"(\d+)(?:\.(\d+))?", version)
    return (int(numbers[1]), int(numbers[2] or 0)) if numbers else None


def _series(release: tuple[int, int]) -> tuple[int, ...]:
    """The numbers that change when something breaks: before 1.0, the minor one too."""
    return release[:1] if release[0] else release


def _words(level: str, distribution: str, version: str, now: str, version_now: str) -> str:
    if distribution == now == LOCAL:
        return "made with code that no package versions; it may have changed"
    text = f"made with {distribution} {version}, {now} {version_now} is here"
    if level == "note" or LOCAL in (distribution, now):
        return text
    return f"{text}, which may compute something else: {_pip(distribution, version)}"


def _pip(distribution: str, version: str) -> str:
    """The line that installs a version that computes the same."""
    then = _release(version)
    if then is None:
        return f"pip install {distribution}=={version}"
    return f"pip install '{distribution}~={then[0]}.{then[1]}{'' if then[0] else '.0'}'"


def _missing(then: Origin, error: PluginError, found: Registry) -> str:
    distribution = then["distribution"]
    text = f"needs the {then['kind']} '{then['name']}' of {distribution} {then['version']}. {error}"
    if distribution == LOCAL:
        return f"{text} It was offered from Python: run the code that calls corekit.register."
    versions = {"corekit": __version__, **{p.distribution: p.version for p in found.plugins}}
    now = versions.get(distribution)
    if now is None and "pip install" not in str(error):
        return f"{text} To load it: pip install {distribution}"
    if now not in (None, then["version"]):
        return f"{text} Version {now} is here: {_pip(distribution, then['version'])}"
    return text
