"""Which packages, in which versions, made a checkpoint; and whether they are still there."""

import hashlib
import json
import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from corekit.errors import CheckpointError, PluginError
from corekit.registry import registry
from corekit.spec import RunSpec, dump_yaml
from corekit.spec.parts import parts


def provenance(spec: RunSpec) -> dict[str, Any]:
    """Versions, the components used, and the hash of the resolved spec."""
    found = registry()
    used = {(kind, part.type): found.component(kind, part.type) for kind, part in parts(spec)}
    return {
        "corekit": version("corekit"),
        "python": platform.python_version(),
        "libraries": {
            name: _version(name) for name in ("torch", "accelerate", "numpy", "safetensors")
        },
        "components": [found.provenance(used[key]) for key in sorted(used)],
        "spec_sha256": hashlib.sha256(dump_yaml(spec).encode()).hexdigest(),
    }


def check_provenance(folder: Path) -> None:
    """Refuse a checkpoint whose components are not installed; warn about other versions.

    Raises:
        PluginError: If a component it needs is not there; says which distribution has it.
    """
    try:
        stored = json.loads((folder / "provenance.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{folder}: provenance.json must be readable JSON, got {error}."
        ) from error
    for component in stored["components"]:
        _check_component(folder, component)


def _check_component(folder: Path, stored: dict[str, str]) -> None:
    kind, name, distribution = stored["kind"], stored["name"], stored["distribution"]
    try:
        now = registry().provenance(registry().component(kind, name))
    except PluginError as error:
        raise PluginError(
            f"{folder}: needs the {kind} '{name}' of {distribution} {stored['version']}. {error} "
            f"To load it: pip install {distribution}"
        ) from error
    if _minor(now["version"]) != _minor(stored["version"]):
        warnings.warn(
            f"{folder.name}: {kind} '{name}' was trained with {distribution} {stored['version']}, "
            f"{now['version']} is installed.",
            stacklevel=4,
        )


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
