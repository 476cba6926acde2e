"""Write a checkpoint of a model: weights, spec, provenance."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from corekit.checkpoint.folder import write
from corekit.checkpoint.load import packed_data_spec
from corekit.checkpoint.provenance import provenance
from corekit.checkpoint.tree import plain_keys
from corekit.interfaces.model import GenerativeModel
from corekit.spec import RunSpec, dump_yaml


def save(
    folder: Path,
    spec: RunSpec,
    model: GenerativeModel,
    *,
    step: int,
    weights: Mapping[str, Tensor] | None = None,
    trees: Mapping[str, Any] | None = None,
    state: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> Path:
    """Write a checkpoint folder, atomically.

    Args:
        folder: Where; an older one of the same name is replaced.
        spec: The spec that builds the model.
        model: Whose weights are kept; unwrapped.
        step: Optimizer steps taken.
        weights: Its state dict, where that is not what the model itself has (shares of it, say).
        trees: More trees to keep (optimizer, averaged weights).
        state: More values to keep beside the step and the DataSpec.
        facts: More facts for ``provenance.json``.
    """
    everything = {
        "model": plain_keys(dict(model.state_dict() if weights is None else weights)),
        "state": {"step": step, "data": packed_data_spec(model.data), **(state or {})},
        **(trees or {}),
    }
    described = {**provenance(spec), "step": step, **(facts or {})}
    texts = {"spec.yaml": dump_yaml(spec), "provenance.json": json.dumps(described, indent=1)}
    return write(folder, everything, texts)
