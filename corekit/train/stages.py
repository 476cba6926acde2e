"""Stages: runs of some parts of one model, each from the weights of the one before."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from corekit.build import build, build_dataset
from corekit.checkpoint.folder import STAGES, find, stage_folders
from corekit.checkpoint.folder import steps as checkpoints
from corekit.checkpoint.load import check_same_model
from corekit.errors import CheckpointError, UsageError
from corekit.interfaces.callback import Callback
from corekit.spec import RunSpec, dump_yaml
from corekit.spec.stages import StageSpec
from corekit.train.caching import CACHE, check_fixed
from corekit.train.device import make_accelerator
from corekit.train.frozen import narrowed
from corekit.train.phases import phases_of
from corekit.train.processes import Processes
from corekit.train.run_folder import RunFolder
from corekit.train.stopping import REASONS, STOPPED_EARLY, Stop
from corekit.train.trainer import Trainer

DONE, STARTED = "done.json", "started.json"


class Outcome(NamedTuple):
    """Where a run of stages has got to.

    Attributes:
        reason: Why it stopped before the end; None if all stages are done.
        stage: The last stage reached, 1 is the first.
        step, steps: Optimizer steps of it taken, and its number of them.
        checkpoint: The last one of it.
        main: Whether this process is the one that prints.
    """

    reason: str | None
    stage: int
    step: int
    steps: int
    checkpoint: Path
    main: bool


def train_stages(
    spec: RunSpec,
    run: str | Path,
    *,
    resume: bool = False,
    start: str | Path | None = None,
    what_fits: bool = False,
    quiet: bool = False,
    callbacks: Callable[[], Sequence[Callback]] = tuple,
) -> Outcome:
    """Train the stages of a spec into ``run/stages/NUMBER-NAME``, each an ordinary run folder.

    A stage begins with the last checkpoint of the one before, or the best if that keeps it: with
    averaged weights, where there are any. A callback ends its stage; what else stops one ends all.

    Args:
        spec: With stages.
        run: The folder; of several processes, what the main one says.
        resume: Go on in the stage that was reached; stages that are done are not run again.
        start: A run or a checkpoint whose weights the first stage begins with.
        what_fits: Of ``start``, take the weights that fit.
        quiet: Print nothing.
        callbacks: Makes callbacks for a stage, beside those that the spec names.

    Raises:
        UsageError, CheckpointError: If the spec cannot be trained, or is not that of the run;
            before anything is.
    """
    if not spec.stages:
        raise UsageError("train_stages: the spec must have stages, got none. Use a Trainer.")
    for stage in spec.stages:
        make_accelerator(stage.train)  # is there such a device?
    processes = Processes()
    folder = RunFolder(processes.from_main(lambda: run))
    check_stages(spec)
    begin: dict[str, Any] = {"start": start and str(start), "what_fits": what_fits}
    begin = processes.from_main(lambda: _open(folder, spec, resume, begin))
    stop = Stop()  # told between two stages
    tell = print if processes.main and not quiet else _nothing
    facts: dict[str, Any] = {}
    with stop.listening():
        for number, stage in enumerate(spec.stages, start=1):
            place = Place(processes, stage_folder(folder.path, number, stage), number, stage)
            named = f"stage {number} of {len(spec.stages)}, {stage.name}:"
            if (done := processes.from_main(place.done)) is not None:
                facts = done
                tell(f"{named} done, {place.path}", flush=True)
            else:
                go_on = processes.from_main(place.begun)
                options: dict[str, Any] = {"quiet": quiet, "callbacks": callbacks()}
                options |= {"resume": True} if go_on else begin
                trainer = Trainer(spec.of_stage(stage), place.path, **options)
                at = f"resumed at step {trainer.step}" if go_on else "training"
                tell(f"{named} {at} in {place.path}", flush=True)
                reason, facts = place.fit(trainer, stop)
                del trainer  # its memory, before the next stage needs some
                if reason not in (None, STOPPED_EARLY):
                    return place.outcome(reason, facts)
            begin = {"start": place.path / "checkpoints" / facts["next"]}
    return place.outcome(None, facts)


class Place(NamedTuple):
    """Where a stage is run, and what is known of it from its folder."""

    processes: Processes
    path: Path
    number: int
    stage: StageSpec

    def done(self) -> dict[str, Any] | None:
        """What was written when the stage was done; None if it is not."""
        file = self.path / DONE
        try:
            facts: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise CheckpointError(f"{file}: must be JSON, got {error}. Delete it.") from error
        return facts

    def begun(self) -> bool:
        """Whether there is a checkpoint; else what there is is removed, but for the cache."""
        if checkpoints(self.path):
            return True
        for rest in self.path.iterdir() if self.path.exists() else ():
            if rest.name != CACHE:
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink()
        return False

    def fit(self, trainer: Trainer, stop: Stop) -> tuple[str | None, dict[str, Any]]:
        """Train; why it stopped, and what is written of the stage when it is done."""
        told = self.processes.gather(REASONS.index(stop.poll()))
        reason = REASONS[max(told)]
        if reason is None:
            reason = trainer.fit()
        elif trainer.step > trainer.saved_step:
            trainer.save()
        facts = self._facts(trainer)
        if reason in (None, STOPPED_EARLY):
            self.processes.from_main(lambda: self._write(facts))
        return reason, facts

    def _write(self, facts: Mapping[str, Any]) -> None:
        partial = self.path / f".{DONE}.partial"
        partial.write_text(json.dumps(facts) + "\n", encoding="utf-8")
        os.replace(partial, self.path / DONE)

    def _facts(self, trainer: Trainer) -> dict[str, Any]:
        """Its last checkpoint, and that which the next stage begins with."""
        last = trainer.run.checkpoint(trainer.saved_step)

        def chosen() -> str:
            best = trainer.run.best_step(self.stage.train.keep_best)
            kept = last if best is None else trainer.run.checkpoint(best)
            return (kept if kept.exists() else last).name

        name = self.processes.from_main(chosen)
        return {"step": trainer.step, "last": last.name, "next": name}

    def outcome(self, reason: str | None, facts: Mapping[str, Any]) -> Outcome:
        """Where the run has got to."""
        last = self.path / "checkpoints" / facts["last"]
        steps = self.stage.train.steps
        return Outcome(reason, self.number, facts["step"], steps, last, self.processes.main)


def check_stages(spec: RunSpec) -> None:
    """Refuse what would be refused later: patterns that match nothing, parts with nothing to cache.

    The model is built without weights, so this is quick.

    Raises:
        UsageError: If a stage cannot be trained.
    """
    for i, stage in enumerate(spec.stages):
        where = f"stages[{i}]"
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")  # they are told when the stage is trained
            model = build(spec)
        narrowed(model, stage.train, where)
        phases_of(model, stage.train)
    if any(stage.train.cache for stage in spec.stages):
        check_fixed(build_dataset(spec))


def stage_folder(run: Path, number: int, stage: StageSpec) -> Path:
    """Where a stage is."""
    return run / STAGES / f"{number}-{stage.name}"


def _open(run: RunFolder, spec: RunSpec, resume: bool, begin: dict[str, Any]) -> dict[str, Any]:
    """Make the folder or, to go on, see that it is that of this spec; how the first stage began."""
    file = run.path / STARTED
    if not resume:
        if begin["start"] is not None:
            find(begin["start"])  # an error now leaves no folder
        run.create(dump_yaml(spec))
        file.write_text(json.dumps(begin) + "\n", encoding="utf-8")
        return begin
    if not run.spec.exists() or not file.exists():
        raise CheckpointError(
            f"{run.path}: must be a run with stages, got none. Choose another --run NAME, perhaps "
            "with weights to begin with: --from."
        )
    wanted = [stage_folder(run.path, n, s) for n, s in enumerate(spec.stages, start=1)]
    for found in stage_folders(run.path):
        if found not in wanted:
            names = ", ".join(path.name for path in wanted)
            raise CheckpointError(
                f"{found}: the stages of a run must stay what they were, got {names}. Start a new "
                "run, or resume with the run's own spec.yaml."
            )
    for path, stage in zip(wanted, spec.stages, strict=True):
        begun = checkpoints(path)
        if begun:
            more = ("steps",) if (path / DONE).exists() else ()
            check_same_model(spec.of_stage(stage), begun[-1], more)
    run.spec.write_text(dump_yaml(spec), encoding="utf-8")
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return known


def _nothing(*words: Any, **options: Any) -> None:
    """One process prints, unless it is told to be quiet."""
