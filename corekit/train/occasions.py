"""What a trainer does every so many steps: evaluate, save, sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from corekit.errors import UsageError
from corekit.report.save import worth_drawing
from corekit.train.conditions import of_examples
from corekit.train.heldout import heldout_loss
from corekit.train.processes import Share
from corekit.train.progress import Report
from corekit.train.sampling import sample_and_save
from corekit.train.stopping import Stopped

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


def occasionally(trainer: Trainer, report: Report, share: Share) -> str | None:
    """Do what is due after a step; returns why it was stopped in the middle, or None.

    What was done is not done again, so a run that was stopped here goes on with the rest.
    """
    try:
        if trainer.due(trainer.train.evaluate_every) and not _logged(trainer):
            _evaluate(trainer, report, share)
        if trainer.due(trainer.train.checkpoint_every) and trainer.step > trainer.saved_step:
            trainer.save()
        if trainer.due(trainer.train.sample_every) and not _sampled(trainer):
            _sample(trainer, report, share)
    except Stopped as stopped:
        return stopped.reason
    return None


def _logged(trainer: Trainer) -> bool:
    if not trainer.resumed_here:
        return False
    return trainer.processes.from_main(lambda: trainer.run.has(trainer.step, "val"))


def _sampled(trainer: Trainer) -> bool:
    if not trainer.resumed_here:
        return False
    facts = trainer.run.sample(trainer.step).with_suffix(".json")  # written after the array
    return trainer.processes.from_main(facts.exists)


def _evaluate(trainer: Trainer, report: Report, share: Share) -> None:
    with trainer.evaluating():
        found = heldout_loss(
            trainer.model, trainer.examples, trainer.train, trainer.device, share=share
        )
    trainer.units = trainer.units or found.units  # a resumed run has not taken a step yet
    report.line(trainer.log("val", found.values))
    best = trainer.train.keep_best
    if best is None:
        return
    _check_known(best, found.values)
    is_best = trainer.processes.from_main(lambda: trainer.run.best_step(best) == trainer.step)
    if is_best and trainer.step > trainer.saved_step:
        trainer.save()


def _check_known(metric: str, values: Mapping[str, float]) -> None:
    if metric not in values:
        raise UsageError(
            f"train.keep_best: must be what evaluation finds, got '{metric}'. "
            f"Found: {', '.join(values)}."
        )


def _sample(trainer: Trainer, report: Report, share: Share) -> None:
    split = "val" if len(trainer.dataset.split("val")) else "train"
    with trainer.evaluating():
        path = sample_and_save(
            trainer.model,
            trainer.run.sample(trainer.step),
            trainer.train.samples or worth_drawing(trainer.data.event_shape),
            trainer.train.seed,
            conditions=of_examples(trainer.model, trainer.dataset, trainer.train.seed, split),
            share=share,
        )
    report.say(f"samples: {path}")
