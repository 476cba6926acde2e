"""Offer components from Python: in a notebook, a script or a test, without a package."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import TracebackType
from typing import Any, overload

from corekit.errors import PluginError, UsageError
from corekit.registry.catalogue import LOCAL, Owned, Registry, registry
from corekit.registry.declaration import Component

_FORMS = "register(Component(...), ...) or register(KIND, NAME, spec=CLASS, target=CLASS)"


class Registration:
    """Some components that were offered; as a `with` block it takes them back at its end."""

    def __init__(
        self, found: Registry, components: tuple[Component, ...], objects: Mapping[str, Any]
    ) -> None:
        self.components = components
        self._registry = found
        self._before: list[tuple[Component, tuple[Owned, ...]]] = []
        for component in components:
            _check_free(found, component)
        for component in components:
            self._before.append((component, found.owned(component.kind, component.name)))
            found.register(component, objects=objects)

    def __enter__(self) -> Registration:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        while self._before:
            component, owned = self._before.pop()
            self._registry.put_back(component.kind, component.name, owned)


@overload
def register(*what: Component) -> Registration: ...


@overload
def register(
    *what: str, spec: Any, target: Any, summary: str = "", conformance: Any = None
) -> Registration: ...


def register(
    *what: Component | str,
    spec: Any = None,
    target: Any = None,
    summary: str = "",
    conformance: Any = None,
) -> Registration:
    """Offer components to the specs of this process; also as a `with` block, for a while.

    A name that was offered before is replaced, so that a notebook cell can be run again. A name
    that a package has is refused. A checkpoint says that such a component is "local": it can be
    loaded where the same code has run.

    Args:
        what: components, or the kind and the name of one
        spec: with kind and name: its spec class, whose `type` is the name
        target: with kind and name: the class or function that a build calls
        summary: with kind and name: one line for `corekit components`
        conformance: with kind and name: how `corekit.testing` should test it

    Raises:
        UsageError: neither of the two forms
        PluginError: a package has a component of that kind and name
        ValueError: kind or name are not of the right form

    Example:
        >>> from corekit.spec.flows import LinearSpec
        >>> class MineSpec(LinearSpec):
        ...     type: str = "mine.linear"
        >>> with register("bijector", "mine.linear", spec=MineSpec, target=lambda **given: None):
        ...     "mine.linear" in registry().names("bijector")
        True
        >>> "mine.linear" in registry().names("bijector")
        False
    """
    components = tuple(entry for entry in what if isinstance(entry, Component))
    words = [entry for entry in what if isinstance(entry, str)]
    objects: dict[str, Any] = {}
    if components and len(components) == len(what) and spec is target is conformance is None:
        pass
    elif len(words) == len(what) == 2 and spec is not None and target is not None:
        one = Component(
            *words,
            spec=_reference(spec, objects),
            target=_reference(target, objects),
            summary=summary,
            conformance=None if conformance is None else _reference(conformance, objects),
        )
        components = (one,)
    else:
        given = ", ".join([*map(repr, what), f"spec={spec!r}", f"target={target!r}"])
        raise UsageError(f"register: the call must be {_FORMS}, got {given}.")
    return Registration(registry(), components, objects)


def _reference(value: Any, objects: dict[str, Any]) -> str:
    """What stands for an object in a declaration: "module:name"; the object is kept beside it."""
    if isinstance(value, str):
        return value
    module = getattr(value, "__module__", "__main__")
    name = getattr(value, "__qualname__", type(value).__qualname__)
    text = f"{module}:{re.sub('[<>]', '', name)}"  # of a class in a function: f.<locals>.Flow
    objects[text] = value
    return text


def _check_free(found: Registry, component: Component) -> None:
    owners = [
        owned.plugin
        for owned in found.owned(component.kind, component.name)
        if owned.plugin.distribution != LOCAL
    ]
    if owners:
        raise PluginError(
            f"register: the name must be free, got {component.kind} {component.name!r} of"
            f" {' and '.join(map(str, owners))}. Choose another, such as"
            f" 'mine.{component.name.rpartition('.')[2]}'."
        )
