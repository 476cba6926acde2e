"""Which components exist, and which package each comes from.

A package offers components through an entry point of the group `corekit`. The module behind it
imports nothing but the standard library and this one, and names its classes as strings::

    @hookimpl
    def corekit_components():
        return [Component("bijector", "glow.actnorm", spec="corekit_glow.specs:ActNormSpec",
                          target="corekit_glow.actnorm:ActNorm", summary="scale and shift")]

A spec class is imported when a spec file names it, an implementation when a model is built. A
plugin that fails is kept as a `Problem` and quoted when someone needs it; all others work.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, reduce
from importlib import import_module
from typing import Any, NamedTuple

from corekit import __version__
from corekit.components import COMPONENTS
from corekit.declaration import (
    API,
    FIRST_PARTY,
    KINDS,
    Component,
    Plugin,
    Problem,
    describe_exception,
    hookimpl,
)
from corekit.discovery import discover
from corekit.errors import PluginError, RegistryLookup
from corekit.lookup import explain_missing

__all__ = [
    "API",
    "FIRST_PARTY",
    "KINDS",
    "Component",
    "Plugin",
    "Problem",
    "Registry",
    "RegistryLookup",
    "hookimpl",
    "registry",
    "use_registry",
]


class Owned(NamedTuple):
    """A component and the package that it comes from."""

    component: Component
    plugin: Plugin


class Registry:
    """The components by kind and name. A new one holds those of core.

    Example:
        >>> registry = Registry()
        >>> registry.component("bijector", "chain").summary
        'bijectors one after another'
        >>> "linear" in registry.names("bijector")
        True
    """

    def __init__(self) -> None:
        self._owned: dict[tuple[str, str], list[Owned]] = {}
        self._plugins: list[Plugin] = []
        self._problems: list[Problem] = []
        self.register(*COMPONENTS, distribution="corekit", version=__version__)

    @classmethod
    def installed(cls) -> Registry:
        """Core and every installed plugin, less those named in `COREKIT_DISABLE=glow,vae`."""
        disabled = {name.strip() for name in os.environ.get("COREKIT_DISABLE", "").split(",")}
        new = cls()
        for found in discover(disabled - {""}):
            new._plugins.append(found.plugin)
            new._problems.extend(found.problems)
            new._add(found.plugin, found.components)
        return new

    def register(
        self, *components: Component, distribution: str = "local", version: str = "0"
    ) -> None:
        """Offer components from Python: in a notebook or a test.

        The same distribution may offer a component again, which replaces it. A second
        distribution makes a conflict: a `Problem` for both, and neither is used.
        """
        self._add(Plugin(distribution, distribution, version), components)

    def _add(self, plugin: Plugin, components: tuple[Component, ...] | list[Component]) -> None:
        for component in components:
            owners = self._owned.setdefault((component.kind, component.name), [])
            owners[:] = [o for o in owners if o.plugin.distribution != plugin.distribution]
            owners.append(Owned(component, plugin))
            if len(owners) > 1:
                self._problems += [_conflict(owned, owners) for owned in owners]

    # -- asking -------------------------------------------------------------------------------

    def component(self, kind: str, name: str) -> Component:
        """The one component of that kind and name.

        Raises:
            RegistryLookup: none, or more than one; says which names are near, what to install
                and, where a broken plugin owns the name, what is wrong with it
        """
        return self._owner(kind, name).component

    def _owner(self, kind: str, name: str) -> Owned:
        owners = self._owned.get((kind, name), [])
        if len(owners) != 1:
            raise explain_missing(self, kind, name)
        return owners[0]

    def components(self, kind: str | None = None) -> tuple[Component, ...]:
        """All components that can be used, of one kind if asked, sorted by kind and name."""
        single = [owners[0].component for owners in self._owned.values() if len(owners) == 1]
        chosen = [component for component in single if kind in (None, component.kind)]
        return tuple(sorted(chosen, key=lambda component: (component.kind, component.name)))

    def names(self, kind: str | None = None) -> tuple[str, ...]:
        """The names of `components(kind)`; a name that two kinds share appears once."""
        return tuple(sorted({component.name for component in self.components(kind)}))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong with the installed plugins."""
        return tuple(self._problems)

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """The installed plugins, the broken and the disabled ones included."""
        return tuple(self._plugins)

    def owners(self, kind: str | None, name: str) -> tuple[Plugin, ...]:
        """Who provides a component, of any kind if None; more than one means a conflict."""
        owned = [
            owned
            for (owned_kind, owned_name), owners in self._owned.items()
            if owned_name == name and kind in (None, owned_kind)
            for owned in owners
        ]
        return tuple(dict.fromkeys(entry.plugin for entry in owned))

    def provenance(self, component: Component) -> dict[str, str]:
        """Where a component comes from, for a checkpoint to keep and compare."""
        plugin = self._owner(component.kind, component.name).plugin
        return {
            "kind": component.kind,
            "name": component.name,
            "distribution": plugin.distribution,
            "version": plugin.version,
            "api": plugin.api,
        }

    # -- importing ----------------------------------------------------------------------------

    def load_spec(self, component: Component) -> type[Any]:
        """Import the spec class (pydantic, no torch).

        Raises:
            PluginError: it cannot be imported; names the distribution
        """
        loaded: type[Any] = self._load(component, component.spec)
        return loaded

    def load_target(self, component: Component) -> Any:
        """Import the implementation (torch).

        Raises:
            PluginError: it cannot be imported; names the distribution
        """
        return self._load(component, component.target)

    def _load(self, component: Component, reference: str) -> Any:
        module, _, attribute = reference.partition(":")
        try:
            return reduce(getattr, attribute.split("."), import_module(module))
        except (Exception, SystemExit) as exception:
            plugin = self._owner(component.kind, component.name).plugin
            raise PluginError(
                f"{plugin.distribution} {plugin.version}: {component.kind} {component.name!r}"
                f" could not be imported from {reference}: {describe_exception(exception)}"
            ) from exception


def _conflict(owned: Owned, owners: list[Owned]) -> Problem:
    component, plugin = owned
    all_of_them = " and ".join(f"{o.plugin.distribution} {o.plugin.version}" for o in owners)
    error = PluginError(
        f"{component.kind} {component.name!r} is provided by {all_of_them}; none is used."
    )
    return Problem(plugin.name, plugin.distribution, plugin.version, "conflict", error)


_replacement: list[Registry] = []


@lru_cache(maxsize=1)
def _installed() -> Registry:
    return Registry.installed()


def registry() -> Registry:
    """The registry of this process; plugins are looked up on the first call."""
    return _replacement[-1] if _replacement else _installed()


@contextmanager
def use_registry(replacement: Registry) -> Iterator[Registry]:
    """Make `registry()` return another one inside a `with` block: for tests."""
    _replacement.append(replacement)
    try:
        yield replacement
    finally:
        _replacement.pop()
