"""What a plugin says about itself: strings only, so that listing plugins stays fast.

Plugin authors import these names from `corekit.registry`.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import KW_ONLY, dataclass

import pluggy

from corekit.errors import CorekitError

API = "1.0"  # of plugins; a module may state the one it was written for as `API = "1.0"`

KINDS = (
    "model",
    "bijector",
    "univariate",
    "stochastic",
    "noise_schedule",
    "denoiser",
    "denoising_loss",
    "timestep_sampler",
    "sampler",
    "encoder",
    "posterior",
    "prior",
    "decoder",
    "likelihood",
    "quantizer",
    "loss",
    "network",
    "dataset",
    "metric",
    "importer",
    "optimizer",
    "lr_schedule",
    "callback",
)

# The plugins of this project, so that a missing one can be named with its pip line.
FIRST_PARTY = {
    "glow": "corekit-glow",
    "realnvp": "corekit-realnvp",
    "ddpm": "corekit-ddpm-improved",
    "pointcloud": "corekit-pointcloud-diffusion",
    "vae": "corekit-vae",
}

hookimpl = pluggy.HookimplMarker("corekit")
_hookspec = pluggy.HookspecMarker("corekit")

_NAME = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_]+)*")
_KIND = re.compile(r"[a-z][a-z0-9_]*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Component:
    """One thing that a spec can name. Nothing is imported to declare it.

    Args:
        kind: what it is, one of `KINDS` or a kind of your own
        name: `<plugin>.<component>`, the plugin being the name of the entry point
        spec: "module:Class" of its pydantic model; the module imports no torch
        target: "module:attribute" of the class or function that a build calls
        summary: one line for `corekit components`
        conformance: "module:attribute" of a `corekit.testing.Conformance` that says how to test
            it, where the defaults do not do; only the conformance kit imports it

    Raises:
        ValueError: where one of these is not of that form
    """

    kind: str
    name: str
    _: KW_ONLY
    spec: str
    target: str
    summary: str
    conformance: str | None = None

    def __post_init__(self) -> None:
        self._require(_KIND, "kind", "be a lower-case word like 'bijector'")
        near = difflib.get_close_matches(self.kind, KINDS, 1, cutoff=0.85)
        if self.kind not in KINDS and near:
            raise ValueError(
                f"Component {self.name!r}: kind must be a known one or clearly another, got"
                f" {self.kind!r}. Did you mean {near[0]!r}?"
            )
        self._require(_NAME, "name", "be lower-case like 'glow.actnorm'")
        self._require(_REFERENCE, "spec", "be 'module:Class'")
        self._require(_REFERENCE, "target", "be 'module:attribute'")
        if self.conformance is not None:
            self._require(_REFERENCE, "conformance", "be 'module:attribute'")

    def _require(self, pattern: re.Pattern[str], field: str, rule: str) -> None:
        value = getattr(self, field)
        if not (isinstance(value, str) and pattern.fullmatch(value)):
            raise ValueError(f"Component {self.name!r}: {field} must {rule}, got {value!r}.")


class Hooks:
    """What a plugin may implement."""

    @_hookspec
    def corekit_components(self) -> list[Component]:  # type: ignore[empty-body]
        """Return the components that the package offers."""


@dataclass(frozen=True)
class Plugin:
    """An installed plugin.

    Status: ok, partial (some components refused), failed, disabled (by `COREKIT_DISABLE`) or
    unlisted (left out by `COREKIT_PLUGINS`); the last two are not imported.
    """

    name: str
    distribution: str
    version: str
    status: str = "ok"
    api: str = API
    load_ms: float | None = None  # milliseconds to import and ask it; None: not imported

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


# Stages of a `Problem`, in the order of loading, and what went wrong there.
STAGES = {
    "version": "does not fit this corekit",
    "import": "failed to import",
    "api": "does not fit this corekit",
    "register": "has wrong hooks",
    "declare": "failed to declare its components",
    "namespace": "uses a name that is not its own",
    "conflict": "is in conflict with another",
    "slow": "slows every command down",
}


@dataclass(frozen=True)
class Problem:
    """Why a plugin, or one of its components, is not used; the stage is one of `STAGES`.

    At the stage slow it is used all the same.
    """

    plugin: str
    distribution: str
    version: str
    stage: str
    exception: BaseException

    @property
    def fatal(self) -> bool:
        """Whether something cannot be used for it."""
        return self.stage != "slow"

    def __str__(self) -> str:
        reason = describe_exception(self.exception)
        return f"{self.distribution} {self.version} {STAGES[self.stage]}: {reason}"


def describe_exception(exception: BaseException) -> str:
    """`ModuleNotFoundError: No module named 'einops'`, on one line; our own words need no class."""
    text = " ".join(str(exception).split())
    if text and isinstance(exception, CorekitError):
        return text
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__
