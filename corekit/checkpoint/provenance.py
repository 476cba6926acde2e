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
from corekit.registry.origins import compare
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
    """Refuse a checkpoint whose components are not there; warn where others may differ.

    Raises:
        PluginError: If components that it needs are not there; says which distribution has them.
    """
    try:
        stored = json.loads((folder / "provenance.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{folder}: provenance.json must be readable JSON, got {error}."
        ) from error
    found = compare(stored["components"], registry())
    errors = [finding.message for finding in found if finding.level == "error"]
    if errors:
        raise PluginError("\n".join(f"{folder}: {message}" for message in errors))
    for finding in found:
        if finding.level == "warning":
            warnings.warn(f"{folder.name}: {finding.message}", stacklevel=4)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
