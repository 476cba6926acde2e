"""A plugin framework for deep generative models.

Importing this package imports nothing heavy: `corekit.build` and `corekit.load` fetch torch when
they are first used, `corekit.register` the registry.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_LAZY = {
    "build": "corekit.build:build",
    "load": "corekit.checkpoint:load",
    "register": "corekit.registry.registration:register",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'corekit' has no attribute {name!r}")
    module, _, attribute = _LAZY[name].partition(":")
    value = getattr(import_module(module), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})


class _Package(ModuleType):
    """Keeps `corekit.build` the function, although a module has the same name.

    When `corekit/build.py` is imported, Python binds the module to the package's attribute.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _LAZY and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
