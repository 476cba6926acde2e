"""From a trainer to a checkpoint and back: everything that the next step depends on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from corekit.checkpoint.folder import find, prune, read, set_aside, steps, tidy, verify
from corekit.checkpoint.load import check_same_model, restore
from corekit.checkpoint.save import save
from corekit.checkpoint.shares import share_out, share_out_memory, whole
from corekit.errors import CheckpointError
from corekit.spec import dump_yaml
from corekit.train.faster import match_layout
from corekit.train.run_folder import run_of

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


def save_state(trainer: Trainer) -> Path:
    """Write the checkpoint of a trainer's step; the main process writes, all know the path.

    Raises:
        CheckpointError: If it cannot be written (a full disk, say); the ones before it stay.
    """
    folder = trainer.run.checkpoint(trainer.step)
    trees: dict[str, Any] = {phase.file: phase.optimizer.state_dict() for phase in trainer.phases}
    if trainer.ema:
        for rate, name in trainer.train.averages().items():
            trees[name] = trainer.ema.state_dict(rate)
    weights, trees = whole((trainer.model.state_dict(), trees), keep=trainer.processes.main)
    state = {
        "ema_steps": trainer.ema.steps if trainer.ema else 0,
        "guard": trainer.guard.state_dict(),
        "callbacks": trainer.callbacks.state_dict(),
        "processes": trainer.processes.world,
        "started_from": trainer.started_from,
    }
    facts = {"data": dict(trainer.dataset.describe()), "started_from": trainer.started_from}

    def write() -> None:
        try:
            save(
                folder,
                trainer.spec,
                trainer.model,
                weights=weights,
                step=trainer.step,
                trees=trees,
                state=state,
                facts=facts,
            )
            best = trainer.run.best_step(trainer.train.keep_best)
            prune(trainer.run.path, trainer.train.keep, best)
        except (OSError, SafetensorError) as error:
            left = steps(trainer.run.path)
            raise CheckpointError(
                f"{folder}: the checkpoint must fit on the disk, got '{error}'. The last one is "
                f"{left[-1].name if left else 'none'}. Make room and go on with --resume."
            ) from error

    trainer.processes.from_main(write)
    return folder


def checkpoint_of(trainer: Trainer, resume: bool | str | Path) -> Path:
    """The checkpoint to continue: of a path, or the latest of the trainer's own run.

    Raises:
        CheckpointError: If there is none.
    """
    path = trainer.run.path if isinstance(resume, bool) else resume
    return trainer.processes.from_main(lambda: find(path))


def restore_state(trainer: Trainer, folder: Path) -> None:
    """Continue a checkpoint: the trainer's next step is the one that came after it.

    Raises:
        CheckpointError: If it is damaged, or of a spec with another model, data or optimizer.
    """
    trainer.processes.from_main(lambda: verify(folder))
    check_same_model(trainer.spec, folder)
    weights = share_out(read(folder, "model"), trainer.model.state_dict())
    restore(trainer.model, weights, folder)
    for phase in trainer.phases:
        phase.optimizer.load_state_dict(read(folder, phase.file))
        share_out_memory(phase.optimizer)
        match_layout(phase.optimizer)
    state = read(folder, "state")
    trainer.step = trainer.saved_step = state["step"]
    trainer.started_from = state.get("started_from")
    trainer.guard.load_state_dict(state.get("guard", {}))
    trainer.callbacks.load_state_dict(state.get("callbacks", {}))
    if state.get("processes", 1) != trainer.processes.world:
        warnings.warn(
            f"{folder}: the run had {state.get('processes', 1)} processes, now it has "
            f"{trainer.processes.world}: it goes on with other random numbers.",
            stacklevel=3,
        )
    if trainer.ema:
        for rate, name in trainer.train.averages().items():
            trainer.ema.load_state_dict(read(folder, name), state["ema_steps"], rate)
    trainer.processes.from_main(lambda: _go_on(trainer, folder))


def _go_on(trainer: Trainer, folder: Path) -> None:
    """Make the run folder what it was at a checkpoint; from another run, copy what it needs."""
    run = trainer.run
    source = run_of(folder)
    if source.resolve() != run.path.resolve():
        run.create(dump_yaml(trainer.spec))
        run.continue_log(source)
    tidy(run.path)
    run.rewind(trainer.step)
    set_aside(run.path, trainer.step)
    run.spec.write_text(dump_yaml(trainer.spec), encoding="utf-8")
