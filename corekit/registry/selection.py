"""Which plugins the environment leaves out: decided by name, before any of them is imported."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from corekit.registry.declaration import FIRST_PARTY, Plugin

ALLOW, DISABLE, STRICT = "COREKIT_PLUGINS", "COREKIT_DISABLE", "COREKIT_STRICT_PLUGINS"


@dataclass(frozen=True)
class Selection:
    """An allow list and a disable list, of names of plugins or of their distributions.

    Args:
        allowed: only these are loaded; empty means all. `corekit` stands for core itself, so the
            list `corekit` loads no plugin
        disabled: these are not loaded, listed or not
        strict: any problem of a plugin is an error

    Example:
        >>> glow = Plugin("glow", "corekit-glow", "0.2")
        >>> Selection(allowed=("realnvp",)).status(glow), Selection().status(glow)
        ('unlisted', 'ok')
    """

    allowed: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()
    strict: bool = False

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Selection:
        """Read `COREKIT_PLUGINS=realnvp,ddpm`, `COREKIT_DISABLE` and `COREKIT_STRICT_PLUGINS=1`."""
        strict = environment.get(STRICT, "").strip().lower() not in ("", "0", "false", "no")
        return cls(_names(environment.get(ALLOW, "")), _names(environment.get(DISABLE, "")), strict)

    def status(self, plugin: Plugin) -> str:
        """`disabled`, `unlisted`, or `ok` where the plugin may be imported."""
        if _named(plugin, self.disabled):
            return "disabled"
        return "ok" if not self.allowed or _named(plugin, self.allowed) else "unlisted"

    def mistakes(self, plugins: Sequence[Plugin]) -> Iterator[str]:
        """A sentence for each name that no installed plugin has.

        A plugin of this project that is not there may be disabled: that is no mistake.
        """
        known = {_normal(name) for plugin in plugins for name in (plugin.name, plugin.distribution)}
        absent = {_normal(name) for pair in FIRST_PARTY.items() for name in pair}
        for variable, names, fine in (
            (ALLOW, self.allowed, {"corekit"}),
            (DISABLE, self.disabled, absent),
        ):
            for name in names:
                if _normal(name) not in known | fine:
                    yield _mistake(variable, name, plugins)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _named(plugin: Plugin, names: tuple[str, ...]) -> bool:
    own = {_normal(plugin.name), _normal(plugin.distribution)}
    return not own.isdisjoint(map(_normal, names))


def _normal(name: str) -> str:
    """Names of distributions differ in spelling only: `Corekit_Glow` is `corekit-glow`."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _mistake(variable: str, name: str, plugins: Sequence[Plugin]) -> str:
    installed = sorted({plugin.name for plugin in plugins})
    candidates = {_normal(plugin.distribution): plugin.distribution for plugin in plugins}
    candidates |= {_normal(plugin): plugin for plugin in installed}
    near = difflib.get_close_matches(_normal(name), candidates, 1)
    package = FIRST_PARTY.get(name, name if name in FIRST_PARTY.values() else None)
    if package:
        advice = f"It is provided by {package}, which is not installed: pip install {package}."
    elif near:
        advice = f"Did you mean {candidates[near[0]]!r}?"
    else:
        advice = f"Installed: {', '.join(installed) or 'none'}."
    return f"{variable} must name installed plugins or their distributions, got {name!r}. {advice}"
