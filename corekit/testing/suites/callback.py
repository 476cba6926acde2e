"""The promises of a Callback: it looks at a run, and changes nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from corekit.build import build
from corekit.checkpoint.tree import pack, same, unpack
from corekit.interfaces.callback import Callback
from corekit.interfaces.model import GenerativeModel
from corekit.spec import RunSpec, run_spec
from corekit.testing.case import Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_equal

SUITE = Suite()
STEPS, EVERY = 12, 3
"""Steps of the run that is played, and steps between two records."""

_SPEC = {
    "version": 1,
    "model": {"type": "flow", "bijector": "linear"},
    "data": "toy2d",
    "train": {"steps": STEPS, "evaluate_every": EVERY, "log_every": EVERY},
}


class PlayedRun:
    """A run as callbacks see it, without training: a `TrainingRun`.

    Args:
        path: The run folder.
        main: Whether this is the process that writes.
    """

    def __init__(self, path: Path, *, main: bool = True) -> None:
        self.path, self.main, self.stopped = path, main, False
        self.step, self.steps = 0, STEPS
        self.spec: RunSpec = run_spec(_SPEC)
        with torch.random.fork_rng(devices=[]):
            self.model: GenerativeModel = build(self.spec)

    def stop(self) -> None:
        """Remember it; the play goes on, so that every method is called."""
        self.stopped = True

    def play(self, callback: Callback, first: int = 0, last: int = STEPS) -> None:
        """Call every method as a trainer does, for the steps after ``first``."""
        self.step = first
        callback.on_start(self)
        for self.step in range(first + 1, last + 1):
            callback.on_step_end(self)
            if self.step % EVERY == 0:
                callback.on_log(self, self._record("train"))
                callback.on_evaluate(self, self._record("val"))
                folder = self.path / "checkpoints" / f"step-{self.step:07d}"
                folder.mkdir(parents=True, exist_ok=True)
                callback.on_checkpoint(self, folder)
        callback.on_end(self, None if last == STEPS else "preempted")

    def _record(self, split: str) -> dict[str, Any]:
        loss = 2.0 + 1.0 / self.step
        record = {"step": self.step, "split": split, "loss": loss, "nll": loss}
        if split == "train":
            cost = {"samples_per_s": 900.0, "ms": {"data": 0.1}, "peak_memory_mib": 300.0}
            record |= {"grad_norm": 1.0, "steps_per_s": 30.0, "cost": cost, "lr": 1e-3}
        return {**record, "units": {"nll": "nats"}}


@contextmanager
def _played(*, main: bool = True) -> Iterator[PlayedRun]:
    with TemporaryDirectory(prefix="corekit-") as folder:
        yield PlayedRun(Path(folder), main=main)


@SUITE.check()
def every_hook_is_one_that_is_called(case: Case) -> None:
    """It is a Callback, and what it calls ``on_...`` is a method that the trainer knows."""
    part = case.fresh()
    expect(isinstance(part, Callback), f"it must be a Callback, got {type(part).__name__}.")
    known = [name for name in dir(Callback) if name.startswith("on_")]
    unknown = [n for n in dir(part) if n.startswith("on_") and n not in known]
    expect(
        not unknown,
        f"methods on_... must be among {', '.join(known)}, got {', '.join(unknown)}: nobody "
        "calls that.",
    )


@SUITE.check()
def a_whole_run_can_be_watched(case: Case) -> None:
    """It goes along with a run from the start to the end, and with one that is stopped."""
    for last in (STEPS, 7):
        with _played() as run:
            run.play(case.fresh(), last=last)


@SUITE.check()
def weights_and_random_numbers_are_left_alone(case: Case) -> None:
    """The model, its mode and global random states are as before: a watched run is the same run."""
    with _played() as run:
        run.model.train()
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        state, numpy_state = torch.get_rng_state(), _numpy_state()
        run.play(case.fresh())
        for name, value in run.model.state_dict().items():
            expect_equal(f"the weight '{name}' must be left alone", value, before[name])
        expect(run.model.training, "the model must stay in training mode.")
        asks = [p.requires_grad and p.grad is None for p in run.model.parameters()]
        expect(all(asks), "parameters must ask for gradients and have none, as before.")
    now = torch.get_rng_state()
    expect_equal("torch's global random state must be left alone, but it moved", now, state)
    moved = _numpy_state() != numpy_state
    expect(not moved, "NumPy's global random state must be left alone, but it moved.")


def _numpy_state() -> tuple[bytes, int]:
    _, keys, position, *_ = np.random.get_state(legacy=True)
    return np.asarray(keys).tobytes(), int(position)  # most draws move the position alone


@SUITE.check()
def what_it_remembers_can_be_saved(case: Case) -> None:
    """``state_dict`` is plain values and tensors, and a new instance takes it up."""
    with _played() as run:
        part = case.fresh()
        run.play(part)
    state = part.state_dict()
    try:
        tensors, skeleton = pack(state)
        stored = unpack(tensors, json.loads(json.dumps(skeleton)))
    except Exception as error:
        raise CheckFailed(
            f"state_dict must be plain values and tensors, which a checkpoint can hold: {error}"
        ) from error
    again = case.fresh()
    again.load_state_dict(stored)
    got = again.state_dict()
    expect(same(got, stored), f"load_state_dict must take up {stored}, got {got}.")


@SUITE.check()
def a_resumed_run_is_watched_as_if_it_had_not_stopped(case: Case) -> None:
    """Stopped in the middle and taken up by a new instance, it remembers what it would have."""
    with _played() as run:
        whole = case.fresh()
        run.play(whole)
        stopped = run.stopped
    with _played() as run:
        half = case.fresh()
        run.play(half, last=2 * EVERY)
        rest = case.fresh()
        rest.load_state_dict(half.state_dict())
        run.play(rest, first=2 * EVERY)
        got, want = rest.state_dict(), whole.state_dict()
        expect(same(got, want), f"state_dict must be {want}, as of a whole run, got {got}.")
        expect(run.stopped == stopped, f"it must stop the run: {stopped}, got {run.stopped}.")


@SUITE.check()
def only_the_main_process_writes(case: Case) -> None:
    """In a process that is not the main one it writes no file into the run folder."""
    with _played(main=False) as run:
        run.play(case.fresh())
        written = sorted(str(p.relative_to(run.path)) for p in run.path.rglob("*") if p.is_file())
        expect(
            not written,
            f"other processes must write nothing, got {', '.join(written)}. Ask run.main.",
        )
