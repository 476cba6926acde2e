"""What a trainer costs per step over a bare loop with the same loader, clipping and averages.

python benchmarks/trainer.py [ROUNDS]   # CPU time of one thread, milliseconds per step

Lightning and pythae take part where they are installed (see README.md). All train the same tiny
model on the same batches with fused Adam, clipping and averaged weights; corekit and Lightning
write a line of their log every 50 steps, pythae none.
"""

import io
import logging
import statistics
import sys
import tempfile
import time
import warnings
from contextlib import redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import torch

from corekit.build import build, build_dataset
from corekit.data.loading import Loader
from corekit.interfaces.callback import Callback
from corekit.interfaces.draws import Draws, seed_of
from corekit.spec import run_spec
from corekit.train.ema import Ema
from corekit.train.trainer import Trainer

WARM, STEPS = 50, 500
SPEC = {
    "version": 1,
    "model": {
        "type": "flow",
        "bijector": {"type": "repeat", "times": 4, "of": "linear"},
    },
    "data": {"type": "toy2d", "size": 2000},
    "train": {
        "steps": WARM + STEPS,
        "batch_size": 32,
        "ema": 0.99,
        "grad_clip": 1.0,
        "device": "cpu",
        "log_every": 50,
    },
}


class Stamps:
    """CPU time after the warm-up and at the end."""

    def __init__(self) -> None:
        self.steps, self.times = 0, []

    def step(self) -> None:
        """A step is over."""
        self.steps += 1
        if self.steps in (WARM, WARM + STEPS):
            self.times.append(time.process_time())

    def ms(self) -> float:
        """Milliseconds per step in between."""
        return 1000 * (self.times[1] - self.times[0]) / STEPS


class Parts:
    """Model, batches, optimizer and averages, the same for all but corekit's trainer."""

    def __init__(self) -> None:
        spec = run_spec(SPEC)
        torch.manual_seed(0)
        self.model = build(spec).train()
        self.parameters = list(self.model.parameters())
        self.dataset = build_dataset(spec).split("train")
        self.loader = Loader(self.dataset, 32, seed=seed_of(0, "data"))
        self.optimizer = torch.optim.Adam(self.parameters, fused=True)
        self.ema, self.draws = Ema(self.model, 0.99), Draws(torch.Generator())

    def loss(self, batch: object) -> torch.Tensor:
        """The mean loss of a batch."""
        return self.model(batch, draws=self.draws).total.mean()

    def step(self, batch: object) -> None:
        """What one writes by hand."""
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.ema.update()


def bare(folder: Path) -> float:
    """The loop that one writes by hand."""
    parts, stamps = Parts(), Stamps()
    for batch in islice(parts.loader, WARM + STEPS):
        parts.step(batch)
        stamps.step()
    return stamps.ms()


def in_turn(folder: Path) -> tuple[float, float]:
    """Medians of wall milliseconds of a step by hand and of one of corekit's, in turn."""
    trainer, parts = Trainer(run_spec(SPEC), folder / "run", quiet=True), Parts()
    trainer.model.train()
    loaders = [iter(parts.loader), iter(Loader(parts.dataset, 32, seed=seed_of(0, "data")))]
    times: list[tuple[float, float]] = []
    for _ in range(WARM + 4 * STEPS):
        start = time.perf_counter()
        parts.step(next(loaders[0]))
        middle = time.perf_counter()
        trainer.watch.begin()
        batch = next(loaders[1])
        trainer.watch.mark("data")
        trainer._meter.add(trainer._step(batch))
        trainer.callbacks.step_end()
        times.append((middle - start, time.perf_counter() - middle))
    hand, own = (1000 * statistics.median(column) for column in zip(*times[WARM:], strict=True))
    return hand, own


class StampSteps(Callback):
    """Stamps steps of corekit's trainer."""

    def __init__(self) -> None:
        self.stamps = Stamps()

    def on_step_end(self, run: object) -> None:
        """A step is over."""
        self.stamps.step()


def corekit(folder: Path) -> float:
    """Trainer.fit, with its log."""
    callback = StampSteps()
    Trainer(run_spec(SPEC), folder / "run", quiet=True, callbacks=[callback]).fit()
    return callback.stamps.ms()


def lightning(folder: Path, **options: object) -> float:
    """lightning.Trainer.fit; the averages are those of the bare loop."""
    import lightning as L
    from lightning.pytorch.loggers import CSVLogger

    parts, stamps = Parts(), Stamps()

    class Module(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = parts.model

        def training_step(self, batch: object, index: int) -> torch.Tensor:
            loss = parts.loss(batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return parts.optimizer

        def on_train_batch_end(self, *_: object) -> None:
            parts.ema.update()
            stamps.step()

    if not options:
        options = {
            "logger": CSVLogger(folder),
            "log_every_n_steps": 50,
            "enable_progress_bar": False,
            "enable_checkpointing": False,
            "enable_model_summary": False,
        }
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=WARM + STEPS,
        limit_train_batches=WARM + STEPS,
        gradient_clip_val=1.0,
        **options,
    )
    trainer.fit(Module(), parts.loader)
    return stamps.ms()


def barebones(folder: Path) -> float:
    """Lightning's mode for measuring its overhead: no log, no progress."""
    return lightning(folder, barebones=True)


def pythae(folder: Path, *, bar: bool = True) -> float:
    """BaseTrainer.train_step; clipping and averages hang on the optimizer."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import (
        CallbackHandler,
        ProgressBarCallback,
        TrainingCallback,
    )

    parts, stamps = Parts(), Stamps()

    class Model(torch.nn.Module):
        model_config, model_name = None, "tiny"

        def __init__(self) -> None:
            super().__init__()
            self.model = parts.model

        def forward(self, inputs: object, **_: object) -> ModelOutput:
            return ModelOutput(loss=parts.loss(inputs))

        def update(self) -> None:
            pass

    class Batches:
        dataset = parts.dataset

        def __iter__(self) -> object:
            return islice(parts.loader, WARM + STEPS)

        def __len__(self) -> int:
            return WARM + STEPS

    class PlainTrainer(BaseTrainer):
        """Reads the batches that it is given; the loop is pythae's."""

        def get_train_dataloader(self, train_dataset: object) -> object:
            return train_dataset

    class Stamp(TrainingCallback):
        def on_train_step_end(self, *_: object, **__: object) -> None:
            stamps.step()

    config = BaseTrainerConfig(output_dir=str(folder), no_cuda=True)
    trainer = PlainTrainer(Model(), Batches(), training_config=config)
    shown = [ProgressBarCallback()] if bar else []  # its train() always adds one
    trainer.callback_handler = CallbackHandler([*shown, Stamp()], trainer.model)
    clip = torch.nn.utils.clip_grad_norm_
    parts.optimizer.register_step_pre_hook(lambda *_: clip(parts.parameters, 1.0) and None)
    parts.optimizer.register_step_post_hook(lambda *_: parts.ema.update())
    trainer.optimizer = parts.optimizer
    with redirect_stderr(io.StringIO()):
        trainer.train_step(1)
    return stamps.ms()


def pythae_silent(folder: Path) -> float:
    """The same without its progress bar: forward, backward, the optimizer, and loss.item()."""
    return pythae(folder, bar=False)


def main() -> None:
    """Print a table: milliseconds per step, and what each costs over the bare loop."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    loops = {"bare loop": bare, f"corekit {version('corekit')}": corekit}
    if find_spec("lightning"):
        loops[f"lightning {version('lightning')}"] = lightning
        loops["lightning, barebones=True"] = barebones
    if find_spec("pythae"):
        loops[f"pythae {version('pythae')}"] = pythae
        loops["pythae, no progress bar"] = pythae_silent
    times: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(rounds):
        for name, loop in loops.items():
            with tempfile.TemporaryDirectory() as folder:
                times[name].append(loop(Path(folder)))
    print(f"torch {torch.__version__}, {rounds} rounds of {STEPS} steps; medians over rounds")
    for name, values in times.items():
        pairs = list(zip(values, times["bare loop"], strict=True))
        over = statistics.median(mine - base for mine, base in pairs)
        ratio = statistics.median(mine / base for mine, base in pairs)
        median = statistics.median(values)
        print(f"{name:<28} {median:7.3f} ms   over the loop {over:7.3f} ms   x {ratio:.2f}")
    with tempfile.TemporaryDirectory() as folder:
        hand, own = in_turn(Path(folder))
    print(f"step by step in turn: by hand {hand:.3f} ms, corekit {own:.3f}, more {own - hand:.3f}")


if __name__ == "__main__":
    main()
