"""Find the installed plugins, one at a time, so that a broken one harms nobody else.

pluggy's own loader stops at the first plugin that fails to import, drops a second distribution
of the same name and accepts a misspelt hook, each of them silently or fatally.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby

import pluggy

from corekit.declaration import API, Component, Hooks, Plugin, Problem
from corekit.errors import PluginError

GROUP = "corekit"
_HOOK = "corekit_components"


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


def discover(disabled: Collection[str] = ()) -> Iterator[Found]:
    """Yield every installed plugin, sorted by name.

    Args:
        disabled: names of plugins or of distributions that are not even imported
    """
    plugins = [(_plugin(entry), entry) for entry in entry_points(group=GROUP)]
    plugins.sort(key=lambda pair: (pair[0].name, pair[0].distribution))
    for name, group in groupby(plugins, key=lambda pair: pair[0].name):
        enabled = []
        for plugin, entry in group:
            if {name, plugin.distribution} & set(disabled):
                yield Found(replace(plugin, status="disabled"))
            else:
                enabled.append((plugin, entry))
        if len(enabled) > 1:
            yield from _same_name([plugin for plugin, _ in enabled])
        else:
            yield from (_load(plugin, entry) for plugin, entry in enabled)


def _plugin(entry: EntryPoint) -> Plugin:
    # A half-removed package can lack its METADATA file, and with it name and version.
    facts = entry.dist.metadata if entry.dist else None
    name, version = (facts["Name"], facts["Version"]) if facts else (None, None)
    return Plugin(entry.name, name or "an unknown distribution", version or "?")


def _same_name(plugins: list[Plugin]) -> Iterator[Found]:
    owners = " and ".join(f"{plugin.distribution} {plugin.version}" for plugin in plugins)
    for plugin in plugins:
        found = Found(plugin)
        advice = f"Uninstall one, or set COREKIT_DISABLE={plugin.distribution}."
        found.refuse(
            "conflict",
            PluginError(f"plugin {plugin.name!r} is provided by {owners}; none is used. {advice}"),
        )
        yield found


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
