"""One step: of each phase forward, backward, clipping and its optimizer; then the averages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, LossTerms
from corekit.train.device import default_generator
from corekit.train.faster import as_stored
from corekit.train.meter import scalars, weighted_sum
from corekit.train.observing import Observers
from corekit.train.phases import Phase, alone
from corekit.train.sharding import clip

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer


class Stepping:
    """Takes the steps of a trainer; nothing waits for the device.

    Args:
        trainer: Whose model and averages move.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._generator = torch.Generator(trainer.device)
        self._common = torch.Generator(trainer.device)
        self._default_generator = default_generator(trainer.device)
        self._scheduled = trainer.model.scheduled()
        self._observers = Observers(trainer.model, trainer.processes)
        mixed = trainer.train.precision != "fp32"
        self._autocast = trainer.accelerator.autocast if mixed else nullcontext

    def draws(self) -> Draws:
        """The noise of this step, whose generator was seeded: each process has its own."""
        processes = self._trainer.processes
        rank, world = processes.rank, processes.world
        return Draws(self._generator, rank=rank, world=world, common=self._common)

    def take(self, batch: Any) -> dict[str, Tensor]:
        """One step of every phase that is due; returns scalars that are still on the device."""
        trainer, train = self._trainer, self._trainer.train
        for part in self._scheduled:
            part.at_step(trainer.step)
        batch = as_stored(batch.to(trainer.device, non_blocking=True), train)
        parts = [(part, len(part.x) / len(batch.x)) for part in batch.split(train.accumulate)]
        values: dict[str, Tensor] = {}
        moved = False
        for phase in trainer.phases:
            if trainer.step % phase.every == 0:
                single = len(trainer.phases) == 1
                with nullcontext() if single else alone(phase, trainer.phases):
                    found = self._gradient(phase, parts)
                    moved |= self._move(phase, found["grad_norm"])
                values |= phase.named(found)
        if trainer.ema and moved:
            trainer.ema.update()
        trainer.watch.mark("optimizer")
        trainer.step += 1
        return values

    def _gradient(self, phase: Phase, parts: Sequence[tuple[Batch, float]]) -> dict[str, Tensor]:
        """The scalars of a phase, whose clipped gradient is then in its parameters.

        Args:
            phase: The phase.
            parts: Of the batch, each with its share of the rows: the last may be smaller.
        """
        trainer = self._trainer
        at = trainer.train, trainer.step
        rank = trainer.processes.rank
        self._default_generator.manual_seed(phase.seed(*at, "dropout", rank))
        self._generator.manual_seed(phase.seed(*at, "noise", rank))
        self._common.manual_seed(phase.seed(*at, "shared noise", 0))
        draws = trainer.draws()
        values: dict[str, Tensor] = {}
        trainer.guard.begin()
        for part, share in parts:
            last = part is parts[-1][0]
            sharding, accelerator = trainer.sharding, trainer.accelerator
            with nullcontext() if last else sharding.unsynced(accelerator, phase.module):
                with self._autocast():
                    terms: LossTerms = phase.module(part, draws=draws)
                    loss = terms.total.mean()
                trainer.watch.mark("forward")
                scaled = loss if share == 1 else loss * share
                if accelerator.scaler is None:  # Accelerate would divide it by 1 first
                    scaled.backward()
                else:
                    accelerator.backward(scaled)
                trainer.watch.mark("backward")
            self._observers.collect(terms.seen)
            values = weighted_sum(values, scalars(terms, loss), share)
        trainer.units = {**trainer.units, **phase.named(terms.units)}
        values["grad_norm"] = self._clip(phase)
        return values

    def _move(self, phase: Phase, grad_norm: Tensor) -> bool:
        """Take the step of a phase, unless it is skipped; whether it was taken."""
        phase.set_lr(self._trainer.step)
        if taken := self._trainer.guard.passes(grad_norm, phase.name):
            phase.optimizer.step()
            self._observers.tell()
        else:
            self._observers.forget()
        phase.optimizer.zero_grad(set_to_none=True)
        self._trainer.watch.mark("optimizer")
        return taken and not getattr(phase.optimizer, "step_was_skipped", False)

    def _clip(self, phase: Phase) -> Tensor:
        """Clip the gradient; returns its norm before."""
        accelerator, limit = self._trainer.accelerator, self._trainer.train.grad_clip
        if accelerator.scaler is not None:
            accelerator.unscale_gradients(phase.optimizer)
        return clip(phase.parameters, math.inf if limit is None else limit)
