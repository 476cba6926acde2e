"""From a run folder or a checkpoint to a model, ready to use."""

import difflib
import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from corekit.build import build
from corekit.checkpoint.folder import find, read, verify
from corekit.checkpoint.provenance import check_provenance
from corekit.data_spec import DataSpec, Support
from corekit.errors import CheckpointError
from corekit.interfaces.model import GenerativeModel
from corekit.spec import RunSpec, load_spec


def load(
    path: str | Path, *, device: str | torch.device = "cpu", ema: bool | float = True
) -> GenerativeModel:
    """The model of a run folder or a checkpoint, in eval mode.

    Args:
        path: A run folder (its latest checkpoint is used) or a checkpoint folder.
        device: Where to put it.
        ema: Use the averaged weights if there are any: True the first of them, a number those of
            this rate; False the last weights.

    Raises:
        CheckpointError: If it is not a checkpoint, is damaged, or holds another model.
        PluginError: If it needs a component that is not installed.
    """
    return load_model(path, device=device, ema=ema)[0]


def load_model(
    path: str | Path, *, device: str | torch.device = "cpu", ema: bool | float = True
) -> tuple[GenerativeModel, RunSpec, Path]:
    """The model, its spec and the checkpoint folder that it came from. See `load`."""
    folder = find(path)
    verify(folder)
    check_provenance(folder)
    spec = load_spec(folder / "spec.yaml").spec
    state = read(folder, "state")
    model = build(spec, data=data_spec_of(state))
    weights = read(folder, weights_file(folder, spec, ema))
    restore(model, weights, folder)
    model.at_step(state["step"])
    return model.to(device).eval(), spec, folder


def weights_file(folder: Path, spec: RunSpec, ema: bool | float) -> str:
    """Which file of a checkpoint has the weights to use: "model", "ema" or "ema-RATE".

    Raises:
        CheckpointError: If there is no average of this rate.
    """
    if isinstance(ema, bool):
        return "ema" if ema and (folder / "ema.safetensors").exists() else "model"
    averages = spec.train.averages()
    if ema not in averages:
        rates = ", ".join(map(str, averages)) or "none"
        raise CheckpointError(
            f"{folder}: ema must be a rate that was averaged, got {ema}. Rates: {rates}."
        )
    return averages[ema]


def restore(model: GenerativeModel, weights: dict[str, torch.Tensor], folder: Path) -> None:
    """Load a state dict strictly.

    Raises:
        CheckpointError: If names or shapes differ from those of the model.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder}: the weights must be those of the spec's model. {error}"
        ) from error


def check_same_model(spec: RunSpec, folder: Path, more: Collection[str] = ()) -> None:
    """Refuse to continue a checkpoint under a spec with another model, data set or optimizer.

    Args:
        spec: To continue under.
        folder: The checkpoint.
        more: Keys of the section ``train`` that must be the same, too.

    Raises:
        CheckpointError: Shows the lines that differ.
    """
    stored = load_spec(folder / "spec.yaml").spec

    def relevant(run: RunSpec) -> list[str]:
        kept = {
            "optimizer",
            "lr_schedule",
            "groups",
            "phases",
            "parts",
            "cache",
            "batch_size",
            "accumulate",
            "ema",
            "seed",
            "precision",
            "grad_clip",
        }
        train = run.train.model_dump(include={*kept, *more})
        tree = {
            "model": run.model_dump()["model"],
            "data": run.model_dump()["data"],
            "train": train,
        }
        return json.dumps(tree, indent=1, default=str).splitlines()

    lines = difflib.unified_diff(
        relevant(stored), relevant(spec), "checkpoint", "spec", lineterm="", n=0
    )
    changes = [line for line in lines if line[0] in "+-" and not line.startswith(("+++", "---"))]
    if changes:
        raise CheckpointError(
            f"{folder}: a run is resumed under its own spec, got another:\n  "
            + "\n  ".join(changes)
            + "\nStart a new run, or resume with the run's own spec.yaml."
        )


def data_spec_of(state: dict[str, Any]) -> DataSpec:
    """The DataSpec kept in a checkpoint (see `packed_data_spec`)."""
    return DataSpec(**{**state["data"], "support": Support(state["data"]["support"])})


def packed_data_spec(data: DataSpec) -> dict[str, Any]:
    """A DataSpec as plain values."""
    return {**asdict(data), "support": data.support.value}
