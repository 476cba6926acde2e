"""Check every component of an installed package."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from corekit.errors import PluginError
from corekit.registry import Component, registry
from corekit.testing.check import CheckResult
from corekit.testing.component import check_component


def check_plugin(name: str, *, slow: bool = False) -> Iterator[CheckResult]:
    """Check everything that a package offers, one result at a time.

    Args:
        name: Of the plugin (``planar``) or of its distribution (``corekit-planar``); ``corekit``
            is core itself.
        slow: Run the slow checks too.

    Yields:
        First a failed ``the_plugin_loads`` for each problem of the plugin, then what
        `check_component` finds on each of its components.

    Raises:
        PluginError: There is no such plugin.
    """
    distributions = _distributions(name)
    for problem in registry().problems:
        if problem.distribution in distributions:
            yield CheckResult(
                f"plugin {problem.plugin}", "", "the_plugin_loads", "failed", str(problem), 0.0
            )
    for component in registry().components():
        if registry().provenance(component)["distribution"] in distributions:
            yield from _checked(component, slow)


def _checked(component: Component, slow: bool) -> Iterator[CheckResult]:
    try:
        yield from check_component(component.kind, component.name, slow=slow)
    except PluginError as error:  # its conformance cannot be imported
        who = f"{component.kind} {component.name}"
        yield CheckResult(who, "", "it_can_be_built", "failed", str(error), 0.0)


def _distributions(name: str) -> set[str]:
    """The distributions of that plugin name, or that distribution."""
    if name == "corekit":
        return {"corekit"}
    plugins = registry().plugins
    found = {p.distribution for p in plugins if name in (p.name, p.distribution)}
    if not found:
        names = [n for p in plugins for n in (p.name, p.distribution)]
        near = difflib.get_close_matches(name, names, 1)
        raise PluginError(
            f"check-plugin: name must be that of an installed plugin, got {name!r}."
            f"{f' Did you mean {near[0]!r}?' if near else ''} Installed: "
            f"{', '.join(p.name for p in plugins) or 'none'}."
        )
    return found
