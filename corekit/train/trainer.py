"""The training loop."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from corekit.build import build, build_dataset
from corekit.data.loading import Loader
from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.interfaces.callback import Callback
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import Draws, seed_of
from corekit.interfaces.model import MAIN, GenerativeModel
from corekit.interfaces.records import Batch
from corekit.spec import RunSpec, dump_yaml
from corekit.train.caching import prepare
from corekit.train.callbacks import Callbacks
from corekit.train.coupling import warn_of_coupled
from corekit.train.device import make_accelerator, shards
from corekit.train.diverged import diverged
from corekit.train.ema import Ema
from corekit.train.faster import lay_out, save_memory
from corekit.train.frozen import narrow
from corekit.train.guard import Guard
from corekit.train.meter import Bad, Meter
from corekit.train.occasions import occasionally
from corekit.train.phases import phases_of
from corekit.train.processes import Processes, Share
from corekit.train.progress import Report
from corekit.train.run_folder import RunFolder
from corekit.train.saving import checkpoint_of, restore_state, save_state
from corekit.train.sharding import Sharding
from corekit.train.starting import initialize, run_errors, warm_start
from corekit.train.stepping import Stepping
from corekit.train.stopping import REASONS, Stop
from corekit.train.watch import StopWatch, peak_memory
from corekit.train.wrapping import wrap


class Trainer:
    """Trains the model of a spec into a run folder.

    Step s is a function of (seed, s) and the weights before it: batches, noise and dropout are
    drawn from generators keyed by (seed, step, rank), so nothing random is stored and a resumed
    run is the run uninterrupted, bit for bit.

    Args:
        spec: What to train, on what, and how.
        run: Where; of several processes, what the main one says.
        resume: Continue from the latest checkpoint of the run, or from that of another path.
        start: A run or a checkpoint whose weights a new run begins with.
        what_fits: Of ``start``, take the weights that fit, instead of refusing others.
        quiet: Print nothing.
        callbacks: Callbacks beside those that the spec names.
    """

    def __init__(
        self,
        spec: RunSpec,
        run: str | Path,
        *,
        resume: bool | str | Path = False,
        start: str | Path | None = None,
        what_fits: bool = False,
        quiet: bool = False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        if spec.stages:
            raise UsageError(
                "Trainer: the spec must have no stages, got some. Use "
                "corekit.train.stages.train_stages, or `spec.of_stage` for one of them."
            )
        self.spec, self.train = spec, spec.train
        self.accelerator = make_accelerator(self.train)
        self.processes = Processes()
        self.quiet = quiet or not self.processes.main
        self.run = RunFolder(self.processes.from_main(lambda: run))
        self.device = self.accelerator.device
        self.dataset: Dataset = build_dataset(spec)
        self.data: DataSpec = self.dataset.data_spec
        torch.manual_seed(seed_of(self.train.seed, "weights"))
        self.model: GenerativeModel = build(spec, data=self.data).to(self.device)
        self.started_from: dict[str, Any] | None = None
        if start is not None:
            self.started_from = warm_start(self, start, what_fits=what_fits)
        self.frozen, self.examples = narrow(self), self.dataset
        if not resume:
            initialize(self)
        lay_out(self.model, self.train)
        save_memory(self.model, self.train)
        wanted = shards(self.train)
        self.sharding = Sharding(self.model, self.processes, self.device, wanted=wanted)
        self.phases = phases_of(self.model, self.train)
        self.main = next(phase for phase in self.phases if phase.name == MAIN)
        self.ema = Ema(self.model, [*self.train.averages()]) if self.train.ema else None
        scaled = self.accelerator.scaler is not None  # fp16: the scaler skips by itself
        skip = self.train.guard == "skip" and not scaled
        self.guard = Guard(self.model, skip=skip, limit=self.train.max_skips)
        self._meter = Meter(skipping=skip or scaled)
        self.callbacks, self.watch = Callbacks(self, callbacks), StopWatch(self.device)
        self.step, self.saved_step = 0, -1
        self.units: dict[str, str] = {}
        self.resumed_here = bool(resume)
        if resume:
            restore_state(self, checkpoint_of(self, resume))
        else:
            self.processes.from_main(lambda: self.run.create(dump_yaml(spec)))
        if self.processes.main:
            size, parts = self.train.batch_size, self.train.accumulate
            warn_of_coupled(self.model, size, self.processes.world, parts)
        # Wrapped after everything that must see the plain module.
        wrap(self)
        self._stepping = Stepping(self)

    def fit(self) -> str | None:
        """Train to the last step; returns why it stopped earlier, or None."""
        stop = Stop(self.train.max_time)
        meter, report = self._meter, Report(self.train.steps, self.step, quiet=self.quiet)
        loader = self._batches()
        self.frozen.train()
        self._clock = time.perf_counter(), self.step
        share, reason = Share(self.processes, stop), None
        with stop.listening(), report, run_errors(self):
            self.callbacks.start(stop)
            reason = prepare(self, share)
            if self.resumed_here and not reason:  # what the step before the stop had left to do
                reason = occasionally(self, report, share) if self.step else None
                self.resumed_here = False
            while self.step < self.train.steps and not (reason := reason or self._told(stop)):
                self.watch.begin()
                batch = next(loader)
                self.watch.mark("data")
                meter.add(self._step(batch))
                self.callbacks.step_end()
                report.step(self.step)
                # A checkpoint is written of finite numbers only, so they are looked at before.
                if self._log_is_due():
                    report.line(self._log_training(meter))
                reason = occasionally(self, report, share)
            if self.step > self.saved_step:
                if meter.count:
                    report.line(self._log_training(meter))
                self.save()
            reason = reason or self._told_last(stop)
            self.callbacks.end(reason)
        return reason

    def _batches(self) -> Iterator[Batch]:
        """What steps are taken on, from the next step on; opened when the first is asked for."""
        loader = Loader(
            self.examples.split("train"),
            self.train.batch_size,
            seed=seed_of(self.train.seed, "data"),
            start_step=self.step,
            rank=self.processes.rank,
            world=self.processes.world,
            workers=self.train.workers,
            pin_memory=self.device.type == "cuda",
        )
        yield from loader

    def _log_is_due(self) -> bool:
        logged = self.due(self.train.log_every) or self.due(self.train.checkpoint_every)
        return logged or self.guard.exhausted

    def _told(self, stop: Stop) -> str | None:
        """Why to stop: the same in all processes, after the same step."""
        return REASONS[self.processes.greatest_so_far(REASONS.index(stop.poll()))]

    def _told_last(self, stop: Stop) -> str | None:
        self.processes.settle()
        told = self.processes.gather(REASONS.index(stop.reason))
        return REASONS[max(told)]

    def _log_training(self, meter: Meter) -> dict[str, Any]:
        now, (then, step) = time.perf_counter(), self._clock
        self._clock = now, self.step
        rate = (self.step - step) / (now - then)
        values = self.processes.mean(meter.read())
        if self.guard.exhausted:
            raise diverged(self, self.guard.reason(), Bad(0, meter.last_skipped))
        skipped = {"skipped": meter.skipped} if meter.skipped else {}
        cost = {
            "samples_per_s": round(rate * self.train.batch_size, 3),
            "ms": self.watch.read(),
            "peak_memory_mib": peak_memory(self.device),
        }
        return self.log("train", values, steps_per_s=round(rate, 3), cost=cost, **skipped)

    def _step(self, batch: Any) -> dict[str, Tensor]:
        """One step of every phase; returns scalars that are still on the device."""
        return self._stepping.take(batch)

    def draws(self) -> Draws:
        """The noise of this step: each process has its own."""
        return self._stepping.draws()

    def due(self, every: int | None) -> bool:
        """Whether what is done every so many steps is done after this one; the last one counts."""
        return every is not None and (self.step % every == 0 or self.step == self.train.steps)

    def log(self, split: str, values: dict[str, float], **facts: Any) -> dict[str, Any]:
        """Write a record of this step.

        Raises:
            DivergedError: If a value is not finite, in all processes: they log the same values.
        """
        record = {"step": self.step, "split": split, **values, **facts}
        if split == "train":
            for phase in self.phases:
                record |= phase.named({"lr": phase.optimizer.param_groups[0]["lr"]})
        record["units"] = self.units
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        written = {**record, **{name: str(values[name]) for name in bad}}
        self.processes.from_main(lambda: self.run.log(written))
        if bad:
            message = f"the loss and its terms must be finite, got {bad[0]} = {values[bad[0]]}"
            first = self._meter.bad if split == "train" else None
            raise diverged(self, f"Trainer: {message} in steps up to {self.step}.", first)
        self.callbacks.logged(record)
        return record

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The model as it is evaluated: averaged weights where there are any, no gradients."""
        self.processes.align(self.model)  # running statistics are those of the main process
        self.model.eval()
        try:
            averaged = self.ema.applied() if self.ema else nullcontext()
            with torch.no_grad(), averaged, self.sharding.gathered():
                yield
        finally:
            self.frozen.train()

    def save(self) -> Path:
        """Write a checkpoint of this step; atomic."""
        self.saved_step = self.step
        folder = save_state(self)
        self.callbacks.saved(folder)
        return folder
