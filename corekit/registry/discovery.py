"""Find the installed plugins, one at a time, so that a broken one harms nobody else.

pluggy's own loader stops at the first plugin that fails to import, drops a second distribution
of the same name and accepts a misspelt hook, each of them silently or fatally.
"""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby
from typing import NamedTuple

import pluggy

from corekit import __version__
from corekit.errors import PluginError
from corekit.registry.declaration import API, Component, Hooks, Plugin, Problem
from corekit.registry.requirement import unmet
from corekit.registry.selection import DISABLE, Selection

GROUP = "corekit"
_HOOK = "corekit_components"
_HEAVY = ("torch", "numpy", "pydantic")  # what no declaration needs, by the time they take


@dataclass
class Found:
    """One plugin, what it offers, and what was wrong with it."""

    plugin: Plugin
    components: list[Component] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, stage: str, exception: BaseException, *, status: str = "failed") -> None:
        """Note a problem; `status` is what remains of the plugin."""
        plugin = self.plugin = replace(self.plugin, status=status)
        self.problems.append(
            Problem(plugin.name, plugin.distribution, plugin.version, stage, exception)
        )


class _Installed(NamedTuple):
    plugin: Plugin
    entry: EntryPoint
    requirements: Sequence[str]


def discover(selection: Selection | None = None) -> Iterator[Found]:
    """Yield every installed plugin, sorted by name.

    Args:
        selection: which are not even imported
    """
    selection = selection or Selection()
    installed = [_installed(entry) for entry in entry_points(group=GROUP)]
    installed.sort(key=lambda one: (one.plugin.name, one.plugin.distribution))
    for _, group in groupby(installed, key=lambda one: one.plugin.name):
        chosen = []
        for one in group:
            status = selection.status(one.plugin)
            if status == "ok":
                chosen.append(one)
            else:
                yield Found(replace(one.plugin, status=status))
        if len(chosen) > 1:
            yield from _same_name([one.plugin for one in chosen])
        else:
            yield from map(_checked_and_loaded, chosen)


def _installed(entry: EntryPoint) -> _Installed:
    # A half-removed package can lack its METADATA file, and with it name and version.
    facts = entry.dist.metadata if entry.dist else None  # parsed anew each time it is asked for
    name, version = (facts["Name"], facts["Version"]) if facts else (None, None)
    plugin = Plugin(entry.name, name or "an unknown distribution", version or "?")
    return _Installed(plugin, entry, (facts.get_all("Requires-Dist") or ()) if facts else ())


def _same_name(plugins: list[Plugin]) -> Iterator[Found]:
    owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    for plugin in plugins:
        found = Found(plugin)
        advice = f"Uninstall one, or set {DISABLE}={plugin.distribution}."
        found.refuse(
            "conflict",
            PluginError(f"plugin {plugin.name!r} is provided by {owners}; none is used. {advice}"),
        )
        yield found


def _checked_and_loaded(one: _Installed) -> Found:
    """Refuse a plugin for another corekit; else load it, and watch what it takes."""
    wanted = unmet(one.requirements, "corekit", __version__)
    if wanted is not None:
        found = Found(one.plugin)
        advice = f"Install that, or another version of {one.plugin.distribution}."
        found.refuse("version", PluginError(f"it needs {wanted}, this is {__version__}. {advice}"))
        return found
    before, start = set(sys.modules), time.perf_counter()
    found = _load(one.plugin, one.entry)
    milliseconds = 1000 * (time.perf_counter() - start)
    found.plugin = replace(found.plugin, load_ms=round(milliseconds, 3))
    heavy = [name for name in _HEAVY if name in sys.modules and name not in before]
    if heavy:
        advice = "Import them in the modules of its specs and targets, not in that of the hook."
        slow = PluginError(f"it imports {', '.join(heavy)} when it is listed. {advice}")
        found.refuse("slow", slow, status=found.plugin.status)
    return found


def _load(plugin: Plugin, entry: EntryPoint) -> Found:
    found = Found(plugin)
    stage = "import"
    try:
        module = entry.load()
        stage = "api"
        found.plugin = replace(plugin, api=_checked_api(module))
        stage = "register"
        manager = _registered(module, plugin.name)
        stage = "declare"
        declared = _declared(manager)
    except (Exception, SystemExit) as exception:
        found.refuse(stage, exception)
    else:
        _sort_out(found, declared)
    return found


def _checked_api(module: object) -> str:
    api = str(getattr(module, "API", API))
    try:
        major, minor = map(int, api.split("."))
    except ValueError:
        raise PluginError(f"API must be like {API!r}, got {api!r}.") from None
    ours = tuple(map(int, API.split(".")))
    if major != ours[0] or minor > ours[1]:
        older = (major, minor) < ours
        advice = "Update the plugin." if older else "Update corekit."
        raise PluginError(f"it speaks plugin API {api}, this corekit {API}. {advice}")
    return api


def _registered(module: object, name: str) -> pluggy.PluginManager:
    """Register with a manager of its own: one plugin cannot spoil another."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(Hooks)
    hooks = [hook for hook in dir(module) if manager.parse_hookimpl_opts(module, hook) is not None]
    for hook in hooks:
        if not hasattr(Hooks, hook):
            near = " Did you mean 'corekit_components'?" if _is_near(hook) else ""
            raise PluginError(f"there is no hook {hook!r}.{near}")
    if _HOOK not in hooks:
        unmarked = hasattr(module, _HOOK)
        cause = f"{_HOOK} lacks @hookimpl" if unmarked else f"it has no function {_HOOK}"
        raise PluginError(f"{cause}. Mark `def {_HOOK}()` with corekit.registry.hookimpl.")
    manager.register(module, name=name)
    return manager


def _is_near(hook: str) -> bool:
    return bool(difflib.get_close_matches(hook, [_HOOK]))


def _declared(manager: pluggy.PluginManager) -> list[Component]:
    results = manager.hook.corekit_components()  # a result of None is left out by pluggy
    declared = results[0] if results else None
    if not isinstance(declared, (list, tuple)):
        got = type(declared).__name__
        raise PluginError(f"{_HOOK} must return a list of Component, got {got}.")
    for component in declared:
        if not isinstance(component, Component):
            raise PluginError(f"{_HOOK} must return a list of Component, got {component!r} in it.")
    return list(declared)


def _sort_out(found: Found, declared: list[Component]) -> None:
    """Keep the components of the plugin's own name that are declared once."""
    prefix = f"{found.plugin.name}."
    keys = [(component.kind, component.name) for component in declared]
    for component, key in zip(declared, keys, strict=True):
        who = f"{component.kind} {component.name!r}"
        if not component.name.startswith(prefix):
            rule = PluginError(f"{who} must start with {prefix!r}.")
            found.refuse("namespace", rule, status="partial")
        elif keys.count(key) > 1:
            rule = PluginError(f"{who} is declared {keys.count(key)} times; none is used.")
            found.refuse("conflict", rule, status="partial")
        else:
            found.components.append(component)
