"""Runs that stop and go on, compared with runs that do not: python resuming.py FOLDER CASE..."""

import json
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import torch
from learning_parts import offered
from run_specs import small

from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import generate
from corekit.train.trainer import Trainer

STOP_AT = 7  # of 10 steps; an epoch has 2, a checkpoint comes every 4
CRITIC = {"critic": {"optimizer": {"type": "adam", "lr": 4e-3}}, "main": {"every": 2}}


class Case(NamedTuple):
    """One way to run, and one way to be stopped."""

    model: str
    workers: int
    precision: str
    accumulate: int
    processes: int
    stop: str

    def spec(self):
        return small(
            self.model,
            workers=self.workers,
            precision=self.precision,
            accumulate=self.accumulate,
            batch_size=12,
            evaluate_every=3,
            sample_every=None if self.model == "latent" else 5,
            samples=3,
            ema=[0.9, 0.5],
            **({"phases": CRITIC} if self.model == "gan" else {}),
        )


class Killed(BaseException):
    """Stands for a process that is gone: nothing is saved, nothing is caught."""


def interrupt(case, folder):
    """Run a case until it is stopped; the number of steps that are left on the disk."""
    trainer = Trainer(case.spec(), folder, quiet=True)
    take, save = trainer._step, trainer.save

    def stopping(batch):
        if trainer.step == STOP_AT - 1:
            if case.stop == "killed":
                raise Killed
            if case.stop == "signal" and trainer.processes.rank == 0:
                os.kill(os.getpid(), signal.SIGTERM)
        return take(batch)

    def saving():
        folder = save()
        if case.stop == "checkpoint" and trainer.step == 8:
            raise Killed
        return folder

    trainer._step, trainer.save = stopping, saving
    try:
        reason = trainer.fit()
    except Killed:
        reason = "killed"
    assert reason == ("preempted" if case.stop == "signal" else "killed")


def result(run):
    """Everything that a run leaves: weights, averages, optimizer, log, samples."""
    folder = run / "checkpoints" / "step-0000010"
    names = ["model", "ema", "ema-0.5", "optimizer", "state"]
    names += ["optimizer-critic"] if (folder / "optimizer-critic.json").exists() else []
    hidden = {"steps_per_s", "cost"}
    log = [
        {k: v for k, v in record.items() if k not in hidden and not k.startswith(("ms_", "peak"))}
        for record in RunFolder(run).records()
        if record["split"] == "val" or record["step"] == 10
    ]
    pictures = {path.name: path.read_bytes() for path in (run / "samples").glob("*.npy")}
    trees = {name: read(folder, name) for name in names}
    return {**trees, "log": log, "pictures": pictures, "next": generate(load(run), 3, seed=1)}


def check(case, folder):
    """The names of what differs between a run that was stopped and one that was not."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parts that couple rows
        Trainer(case.spec(), folder / "whole", quiet=True).fit()
        interrupt(case, folder / "parts")
        torch.rand(3)  # the global generator moves on in between
        again = Trainer(case.spec(), folder / "parts", resume=True, quiet=True)
        reached = again.step
        again.fit()
    expected = {"signal": {7, 8}, "checkpoint": {8}, "killed": {4}}[case.stop]
    whole, parts = result(folder / "whole"), result(folder / "parts")
    wrong = [name for name in whole if not same(whole[name], parts[name])]
    return wrong if reached in expected else [*wrong, f"resumed at {reached}"]


def main():
    folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
    found = []
    with offered():
        for number, case in enumerate(cases):
            found.append(check(Case(*case), folder / str(number)))
    rank = os.environ["RANK"]
    (folder / f"found-{rank}.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
