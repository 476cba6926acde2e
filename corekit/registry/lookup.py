"""Say why a component is not there, and what to do about it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from corekit.errors import RegistryLookup
from corekit.registry.declaration import FIRST_PARTY, Problem
from corekit.registry.selection import ALLOW, DISABLE

if TYPE_CHECKING:
    from corekit.registry.catalogue import Registry

_LISTED = 20  # names of one kind, before the list is cut short


def explain_missing(registry: Registry, kind: str | None, name: str) -> RegistryLookup:
    """The error for a component that is not there or not usable; `kind` None means any."""
    what = kind or "component"
    owners = registry.owners(kind, name)
    if owners:
        both = " and ".join(map(str, owners))
        advice = f"Uninstall one, or set {DISABLE}={owners[-1].distribution}."
        conflict = f"{what} {name!r} is provided by {both}, so none is used. {advice}"
        return RegistryLookup(conflict, plugin_at_fault=True)

    near = nearest(name, registry.names(kind))
    known, plugin_at_fault = _what_is_known(registry, name, near)
    message = [f"No {what} named {name!r}.", *known]
    if near:
        message.append(f"Did you mean {' or '.join(map(repr, near))}?")
    elsewhere = [other.kind for other in registry.components() if other.name == name]
    if elsewhere:
        message.append(f"Of that name there is: {', '.join(elsewhere)}.")
    message.append(_installed(registry, kind))
    return RegistryLookup(" ".join(message), suggestions=near, plugin_at_fault=plugin_at_fault)


def nearest(name: str, names: tuple[str, ...]) -> list[str]:
    """The names that may have been meant, best first; a bare name finds its plugins' own."""
    same = [other for other in names if other.rpartition(".")[2] == name]
    return same or difflib.get_close_matches(name, names, 3, cutoff=0.7)


def _what_is_known(registry: Registry, name: str, near: list[str]) -> tuple[list[str], bool]:
    """Facts about the plugin that should have provided `name`; whether it is at fault."""
    prefix, dot, _ = name.partition(".")
    if not dot:
        failed = sorted({p.distribution for p in registry.problems if p.fatal})
        note = f"These plugins have problems: {', '.join(failed)} (see `corekit plugins`)."
        return ([note] if failed else []), False

    plugins = [plugin for plugin in registry.plugins if plugin.name == prefix]
    if any(plugin.status in ("ok", "partial") for plugin in plugins):
        return [], False
    problems = [problem for problem in registry.problems if problem.plugin == prefix]
    if problems:
        return [f"Its plugin is installed but not usable: {_quote(problems)}."], True
    if plugins:
        if plugins[0].status == "unlisted":
            reason = f"left out: {ALLOW} does not name it"
        else:
            reason = f"switched off by {DISABLE}"
        return [f"Its plugin {plugins[0]} is {reason}."], True
    if prefix in FIRST_PARTY:
        package = FIRST_PARTY[prefix]
        return [
            f"It is provided by {package}, which is not installed: pip install {package}."
        ], True
    if any(other.startswith(f"{prefix}.") for other in registry.names()):
        return [], False  # offered from Python, by `register`
    return [f"No plugin {prefix!r} is installed."], not near


def _quote(problems: list[Problem]) -> str:
    return "; ".join(dict.fromkeys(str(problem).rstrip(".") for problem in problems))


def _installed(registry: Registry, kind: str | None) -> str:
    if kind is None:
        return "`corekit components` lists what is installed."
    names = registry.names(kind)
    if not names:
        return f"No {kind} is installed."
    more = f", … (see `corekit components {kind}`)" if len(names) > _LISTED else ""
    return f"Installed: {', '.join(names[:_LISTED])}{more}."
