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

from corekit.errors import RegistryLookup
from corekit.registry.catalogue import Registry, registry, use_registry
from corekit.registry.declaration import (
    API,
    FIRST_PARTY,
    KINDS,
    Component,
    Plugin,
    Problem,
    hookimpl,
)

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
