"""The catalogue: components by kind and name, and whose each is."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, reduce
from importlib import import_module
from typing import Any, NamedTuple

from corekit import __version__
from corekit.errors import PluginError
from corekit.registry.core import COMPONENTS
from corekit.registry.declaration import (
    Component,
    Plugin,
    Problem,
    describe_exception,
)
from corekit.registry.discovery import discover
from corekit.registry.lookup import explain_missing
from corekit.registry.selection import STRICT, Selection

LOCAL = "local"  # the distribution of what is offered from Python, which is none


class Owned(NamedTuple):
    """A component and the package that it comes from."""

    component: Component
    plugin: Plugin
    objects: Mapping[str, Any] = {}  # what some of its strings stand for, if not for a module's


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
        """Core and the installed plugins that the environment does not leave out (`Selection`).

        Raises:
            PluginError: with `COREKIT_STRICT_PLUGINS=1`, if anything is wrong with any of them
        """
        selection = Selection.from_environment(os.environ)
        new = cls()
        for found in discover(selection):
            new._plugins.append(found.plugin)
            new._problems.extend(found.problems)
            new._add(found.plugin, found.components, {})
        mistakes = list(selection.mistakes(new._plugins))
        if selection.strict and (new._problems or mistakes):
            listed = "".join(f"\n  {text}" for text in [*mistakes, *new._problems])
            raise PluginError(f"{STRICT} is set, and plugins have problems:{listed}")
        for mistake in mistakes:
            warnings.warn(mistake, stacklevel=2)
        return new

    def register(
        self,
        *components: Component,
        distribution: str = LOCAL,
        version: str = "0",
        objects: Mapping[str, Any] | None = None,
    ) -> None:
        """Offer components of a distribution; `corekit.register` is the one for notebooks.

        The same distribution may offer a component again, which replaces it. A second
        distribution makes a conflict: a `Problem` for both, and neither is used. `objects` says
        what a string of a component stands for, where importing it would not do.
        """
        self._add(Plugin(distribution, distribution, version), components, objects or {})

    def _add(
        self, plugin: Plugin, components: Iterable[Component], objects: Mapping[str, Any]
    ) -> None:
        for component in components:
            owners = self._owned.setdefault((component.kind, component.name), [])
            owners[:] = [o for o in owners if o.plugin.distribution != plugin.distribution]
            owners.append(Owned(component, plugin, objects))
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

    def owned(self, kind: str, name: str) -> tuple[Owned, ...]:
        """The component of that kind and name, from everyone who provides it."""
        return tuple(self._owned.get((kind, name), ()))

    def put_back(self, kind: str, name: str, owned: tuple[Owned, ...]) -> None:
        """Make `owned(kind, name)` what it was before."""
        self._owned[kind, name] = list(owned)

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

    def load_conformance(self, component: Component) -> Any:
        """Import how it wants to be tested; None where it does not say.

        Raises:
            PluginError: it cannot be imported; names the distribution
        """
        how = component.conformance
        return None if how is None else self._load(component, how)

    def _load(self, component: Component, reference: str) -> Any:
        for owned in self.owned(component.kind, component.name):
            if reference in owned.objects:
                return owned.objects[reference]
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
    component, plugin, _ = owned
    all_of_them = " and ".join(str(owner.plugin) for owner in owners)
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
