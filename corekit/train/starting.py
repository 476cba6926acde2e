"""How a run starts: with weights of another one, with statistics of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corekit.checkpoint.folder import find, read, sha256, verify
from corekit.checkpoint.load import weights_file
from corekit.data.loading import Loader
from corekit.errors import CheckpointError, UsageError
from corekit.interfaces.draws import Draws, seed_of
from corekit.interfaces.initialization import starts_from_data
from corekit.spec import load_spec

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer

_LISTED = 12


def warm_start(trainer: Trainer, path: str | Path, *, what_fits: bool) -> dict[str, Any]:
    """Take the weights of a checkpoint: averaged ones where there are any, nothing else.

    Args:
        trainer: Whose model takes them.
        path: A run or a checkpoint, under any spec.
        what_fits: Take weights whose name and shape are those of the model, and leave the rest;
            otherwise every one must fit.

    Returns:
        What provenance says of it.

    Raises:
        CheckpointError: If weights do not fit; lists them.
    """
    folder = find(path)
    verify(folder)
    file = weights_file(folder, load_spec(folder / "spec.yaml").spec, True)
    stored: dict[str, Tensor] = read(folder, file)
    own = trainer.model.state_dict()
    fitting = {k: v for k, v in stored.items() if k in own and own[k].shape == v.shape}
    wrong = _misfits(stored, own)
    if wrong and not what_fits:
        raise CheckpointError(
            f"{folder}: all weights must fit the model of the spec, got {len(wrong)} that do "
            f"not:\n  {_shown(wrong)}\nTake the {len(fitting)} that fit with --what-fits."
        )
    if not fitting:
        raise CheckpointError(
            f"{folder}: a weight must fit the model of the spec, got none:\n  {_shown(wrong)}"
        )
    trainer.model.load_state_dict(fitting, strict=False)
    if not trainer.quiet:
        left = f"; {len(wrong)} do not fit:\n  {_shown(wrong)}" if wrong else ""
        print(f"{len(fitting)} of {len(own)} tensors from {folder}{left}", flush=True)
    return {
        "checkpoint": str(folder),
        "step": read(folder, "state")["step"],
        "weights": file,
        "sha256": sha256(folder / f"{file}.safetensors"),
        "taken": len(fitting),
        "did_not_fit": wrong,
    }


def _misfits(stored: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    wrong = []
    for name in sorted({*stored, *own}):
        if name not in own:
            wrong.append(f"{name}: not in the model")
        elif name not in stored:
            wrong.append(f"{name}: not in the checkpoint")
        elif stored[name].shape != own[name].shape:
            shapes = tuple(stored[name].shape), tuple(own[name].shape)
            wrong.append(f"{name}: {shapes[0]} in the checkpoint, {shapes[1]} in the model")
    return wrong


def _shown(lines: list[str]) -> str:
    more = [f"and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return "\n  ".join(lines[:_LISTED] + more)


@torch.no_grad()
def initialize(trainer: Trainer) -> None:
    """Set what depends on data, from the first ``init_rows`` rows of the data, in every process.

    Every process computes the same from the same rows, and the main one's result is what counts,
    so that copies are equal to the last bit before the model is wrapped. No row is read for a model
    that does not start from data.
    """
    if starts_from_data(trainer.model):
        train, data = trainer.train, trainer.dataset.split("train")
        rows = Loader(data, min(train.init_rows, len(data)), seed=seed_of(train.seed, "data"))
        generator = torch.Generator(trainer.device).manual_seed(seed_of(train.seed, "initialize"))
        batch = next(iter(rows)).to(trainer.device)
        trainer.frozen.train()
        with trainer.frozen.kept():
            trainer.model.initialize(batch, Draws(generator))
    trainer.processes.align(trainer.model, weights=True)


@contextmanager
def run_errors(trainer: Trainer) -> Iterator[None]:
    """Say in one line what torch takes many for.

    Raises:
        UsageError: If a step of several processes left parameters unused; with their names.
    """
    try:
        yield
    except RuntimeError as error:
        if "Expected to have finished reduction" in str(error):
            raise _unused(trainer, str(error)) from error
        raise


def _unused(trainer: Trainer, words: str) -> UsageError:
    """What DDP says of parameters by their numbers."""
    names = [name for name, p in trainer.model.named_parameters() if p.requires_grad]
    found = re.search(r"did not receive grad for rank \d+: ([\d ]+)", words)
    which = [names[int(i)] for i in found[1].split() if int(i) < len(names)] if found else []
    return UsageError(
        "Trainer: of several processes, every parameter must have a part in every step, got none "
        f"for {', '.join(which[:_LISTED]) or 'some'}. Freeze them with train.groups, or set "
        "train.find_unused: true."
    )
