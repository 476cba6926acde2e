"""The training loop."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from corekit.build import build_dataset, component
from corekit.checkpoint.folder import find, prune, read, verify
from corekit.checkpoint.load import check_same_model, restore
from corekit.checkpoint.save import save
from corekit.data.loading import Loader
from corekit.data_spec import DataSpec
from corekit.errors import DivergedError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import Draws, seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import LossTerms
from corekit.report.save import worth_drawing
from corekit.spec import RunSpec, dump_yaml
from corekit.train.device import default_generator, make_accelerator
from corekit.train.ema import Ema
from corekit.train.heldout import heldout_loss
from corekit.train.meter import Meter, scalars, weighted_sum
from corekit.train.progress import Report
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import sample_and_save
from corekit.train.stopping import Stop


class Trainer:
    """Trains the model of a spec into a run folder.

    Step s is a function of (seed, s) and the weights before it: batches, noise and dropout are
    drawn from generators keyed by (seed, step, rank), so nothing random is stored and a resumed
    run is the run uninterrupted, bit for bit.

    Args:
        spec: What to train, on what, and how.
        run: Where.
        resume: Continue from the latest checkpoint of the run.
        quiet: Print nothing.
    """

    def __init__(
        self, spec: RunSpec, run: str | Path, *, resume: bool = False, quiet: bool = False
    ) -> None:
        self.spec, self.train, self.run, self.quiet = spec, spec.train, RunFolder(run), quiet
        self.accelerator = make_accelerator(self.train)
        self.device = self.accelerator.device
        self.dataset: Dataset = build_dataset(spec)
        self.data: DataSpec = self.dataset.data_spec
        torch.manual_seed(seed_of(self.train.seed, "weights"))
        self.model: GenerativeModel = component("model", spec.model, data=self.data).to(self.device)
        self.optimizer = component("optimizer", self.train.optimizer)(self.model.parameters())
        self.lr_schedule = component("lr_schedule", self.train.lr_schedule)
        self.base_lr = [group["lr"] for group in self.optimizer.param_groups]
        self.ema = Ema(self.model, self.train.ema) if self.train.ema else None
        self.step, self.saved_step = 0, -1
        self.units: dict[str, str] = {}
        if resume:
            self._resume()
        else:
            self.run.create()
            self.run.spec.write_text(dump_yaml(spec), encoding="utf-8")
        # Wrapped after everything that must see the plain module.
        self.wrapped: nn.Module = self.accelerator.prepare_model(self.model)
        if self.accelerator.scaler is not None:  # fp16: the wrapper skips steps that overflowed
            self.optimizer = self.accelerator.prepare_optimizer(self.optimizer)
        self.parameters = list(self.model.parameters())
        self._generator = torch.Generator(self.device)
        self._default_generator = default_generator(self.device)
        self._scheduled = self.model.scheduled()
        mixed = self.train.precision != "fp32"
        self._autocast = self.accelerator.autocast if mixed else nullcontext

    def fit(self) -> str | None:
        """Train to the last step; returns why it stopped earlier, or None."""
        stop = Stop(self.train.max_time)
        meter, report = Meter(), Report(self.train.steps, self.step, quiet=self.quiet)
        world = self.accelerator.num_processes
        loader = iter(
            Loader(
                self.dataset.split("train"),
                self.train.batch_size,
                seed=seed_of(self.train.seed, "data"),
                start_step=self.step,
                rank=self.accelerator.process_index,
                world=world,
                workers=self.train.workers,
                pin_memory=self.device.type == "cuda",
            )
        )
        self.model.train()
        self._clock = time.perf_counter(), self.step
        with stop.listening(), report:
            while self.step < self.train.steps and not stop.poll():
                meter.add(self._step(next(loader)))
                report.step(self.step)
                # A checkpoint is written of finite numbers only, so they are looked at before.
                if self._due(self.train.log_every) or self._due(self.train.checkpoint_every):
                    report.line(self._log_training(meter))
                self._occasionally(report)
            if self.step > self.saved_step:
                if meter.count:
                    report.line(self._log_training(meter))
                self.save()
        return stop.reason

    def _log_training(self, meter: Meter) -> dict[str, Any]:
        now, (then, step) = time.perf_counter(), self._clock
        self._clock = now, self.step
        rate = (self.step - step) / (now - then)
        return self._log("train", meter.read(), steps_per_s=round(rate, 3))

    def _step(self, batch: Any) -> dict[str, Tensor]:
        """One optimizer step; returns scalars that are still on the device."""
        self._set_lr()
        for part in self._scheduled:
            part.at_step(self.step)
        rank = self.accelerator.process_index
        self._default_generator.manual_seed(seed_of(self.train.seed, self.step, "dropout", rank))
        self._generator.manual_seed(seed_of(self.train.seed, self.step, "noise", rank))
        draws = Draws(self._generator)
        batch = batch.to(self.device, non_blocking=True)
        values: dict[str, Tensor] = {}
        for part in (parts := batch.split(self.train.accumulate)):
            share = len(part.x) / len(batch.x)  # the last part may be smaller
            synced = nullcontext() if part is parts[-1] else self.accelerator.no_sync(self.wrapped)
            with synced:
                with self._autocast():
                    terms: LossTerms = self.wrapped(part, draws=draws)
                    loss = terms.total.mean()
                self.accelerator.backward(loss if share == 1 else loss * share)
            values = weighted_sum(values, scalars(terms), share)
        self.units = dict(terms.units)
        values["grad_norm"] = self._clip()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.update()
        self.step += 1
        return values

    def _clip(self) -> Tensor:
        """Clip the gradient; returns its norm before."""
        limit = math.inf if self.train.grad_clip is None else self.train.grad_clip
        if self.accelerator.scaler is not None:  # fp16: unscale first
            return self.accelerator.clip_grad_norm_(self.parameters, limit)
        return nn.utils.clip_grad_norm_(self.parameters, limit)

    def _set_lr(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lr, strict=True):
            group["lr"] = self.lr_schedule(self.step, base)

    def _due(self, every: int | None) -> bool:
        return every is not None and (self.step % every == 0 or self.step == self.train.steps)

    def _log(self, split: str, values: dict[str, float], **facts: Any) -> dict[str, Any]:
        record = {"step": self.step, "split": split, **values, **facts}
        if split == "train":
            record["lr"] = self.optimizer.param_groups[0]["lr"]
        record["units"] = self.units
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if self.accelerator.is_main_process:
            self.run.log({**record, **{name: str(values[name]) for name in bad}})
        if bad:
            raise DivergedError(
                f"Trainer: the loss and its terms must be finite, got {bad[0]} = {values[bad[0]]} "
                f"in steps up to {self.step}. The last checkpoint is of step "
                f"{max(self.saved_step, 0)}. Lower the learning rate, set train.grad_clip, "
                "or use precision fp32."
            )
        return record

    def _occasionally(self, report: Report) -> None:
        """What is done every so many steps, with averaged weights where there are any."""
        if self._due(self.train.evaluate_every):
            with self._evaluating():
                values = heldout_loss(self.model, self.dataset, self.train, self.device)
            report.line(self._log("val", values.values))
        if self._due(self.train.checkpoint_every):
            self.save()
        if self._due(self.train.sample_every) and self.accelerator.is_main_process:
            with self._evaluating():
                path = sample_and_save(
                    self.model,
                    self.run.samples / f"step-{self.step:07d}",
                    self.train.samples or worth_drawing(self.data.event_shape),
                    self.train.seed,
                )
            report.say(f"samples: {path}")

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        self.model.eval()
        try:
            with self.ema.applied() if self.ema else nullcontext(), torch.no_grad():
                yield
        finally:
            self.model.train()

    def save(self) -> Path:
        """Write a checkpoint of this step; atomic."""
        folder = self.run.checkpoint(self.step)
        self.saved_step = self.step
        if not self.accelerator.is_main_process:
            return folder
        trees: dict[str, Any] = {"optimizer": self.optimizer.state_dict()}
        if self.ema:
            trees["ema"] = self.ema.state_dict()
        save(
            folder,
            self.spec,
            self.model,
            step=self.step,
            trees=trees,
            state={"ema_steps": self.ema.steps if self.ema else 0},
            facts={"data": dict(self.dataset.describe())},
        )
        prune(self.run.path, self.train.keep)
        return folder

    def _resume(self) -> None:
        folder = find(self.run.path)
        verify(folder)
        check_same_model(self.spec, folder)
        restore(self.model, read(folder, "model"), folder)
        self.optimizer.load_state_dict(read(folder, "optimizer"))
        state = read(folder, "state")
        self.step = self.saved_step = state["step"]
        if self.ema and (folder / "ema.safetensors").exists():
            self.ema.load_state_dict(read(folder, "ema"), state["ema_steps"])
        self.run.rewind(self.step)
        self.run.spec.write_text(dump_yaml(self.spec), encoding="utf-8")
