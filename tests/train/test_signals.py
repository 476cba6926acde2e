"""SIGTERM and SIGUSR1 while a run evaluates or samples, to commands, and to loading processes."""

import json
import multiprocessing
import os
import signal
import subprocess
import time

import pytest
import yaml
from plane_runs import PLANE, at_step, plane

from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.interfaces.draws import RowDraws
from corekit.train import heldout, sampling
from corekit.train.run_folder import RunFolder
from corekit.train.trainer import Trainer


@pytest.fixture
def straight(tmp_path):
    """The weights after six steps without a fault."""
    Trainer(plane(), tmp_path / "straight", quiet=True).fit()
    return read(tmp_path / "straight" / "checkpoints" / "step-0000006", "model")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a spec, for the commands."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plane.yaml").write_text(yaml.safe_dump(PLANE))
    return tmp_path


@pytest.mark.parametrize("name", ["TERM", "USR1", "INT"])
def test_loading_processes_go_on_when_the_whole_job_is_signalled(tmp_path, straight, name):
    trainer = Trainer(plane(workers=2), tmp_path / "run", quiet=True)

    def signal_the_workers():  # as a scheduler does: the signal is not sent by their parent
        workers = [str(process.pid) for process in multiprocessing.active_children()]
        subprocess.run(["kill", f"-{name}", *workers], check=True)
        time.sleep(0.3)

    at_step(trainer, 3, signal_the_workers)
    assert trainer.fit() is None
    assert same(read(tmp_path / "run" / "checkpoints" / "step-0000006", "model"), straight)


def test_a_signal_in_an_evaluation_stops_it_and_the_resumed_run_does_it_again(
    tmp_path, monkeypatch
):
    spec = plane(evaluate_every=3, sample_every=3, samples=5)
    Trainer(spec, tmp_path / "whole", quiet=True).fit()
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    forward = trainer.model.forward

    def signalled(batch, **options):
        if trainer.step == 3 and not trainer.model.training:
            os.kill(os.getpid(), signal.SIGUSR1)
        return forward(batch, **options)

    trainer.model.forward = signalled
    assert trainer.fit() == "preempted"
    assert trainer.saved_step == 3
    assert not RunFolder(tmp_path / "run").has(3, "val")
    again = Trainer(spec, tmp_path / "run", resume=True, quiet=True)
    again.fit()

    def log(run):
        hidden = {"steps_per_s", "samples_per_s"}
        return [
            {k: v for k, v in r.items() if k not in hidden}
            for r in RunFolder(tmp_path / run).records()
            if r["split"] == "val"
        ]

    assert log("run") == log("whole")
    names = [{p.name for p in (tmp_path / run / "samples").iterdir()} for run in ("run", "whole")]
    assert names[0] == names[1]


def test_an_evaluation_that_was_done_is_not_done_again(tmp_path):
    spec = plane(evaluate_every=3, checkpoint_every=3, sample_every=3, samples=5)
    trainer = Trainer(spec, tmp_path, quiet=True)
    at_step(trainer, 5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    trainer.save = lambda: type(trainer).save(trainer) if trainer.step == 3 else None
    trainer.fit()
    picture = tmp_path / "samples" / "step-0000003.npy"
    before = picture.stat().st_mtime_ns
    Trainer(spec, tmp_path, resume=True, quiet=True).fit()
    held_out = [r["step"] for r in RunFolder(tmp_path).records() if r["split"] == "val"]
    assert held_out == [3, 6]
    assert picture.stat().st_mtime_ns == before


def test_a_signal_to_sample_leaves_nothing_half_done(here, capsys, monkeypatch):
    assert main(["train", "plane.yaml", "--quiet"]) == 0
    before = sorted(here.rglob("*"))
    drawn = []

    def signalled(seed, rows):
        os.kill(os.getpid(), signal.SIGTERM)
        drawn.append(len(rows))
        return RowDraws(seed, rows)

    monkeypatch.setattr(sampling, "RowDraws", signalled)
    assert main(["sample", "runs/plane", "--num", "150"]) == 75
    words = "error: preempted: stopped before the end, nothing was written. Start it again.\n"
    assert capsys.readouterr().err == words
    assert drawn == [64]  # of 150
    assert sorted(here.rglob("*")) == before


def test_a_signal_to_evaluate_leaves_nothing_half_done(here, capsys, monkeypatch):
    assert main(["train", "plane.yaml", "--quiet"]) == 0
    before = sorted(here.rglob("*"))
    means = heldout.scalars

    def signalled(terms):
        os.kill(os.getpid(), signal.SIGUSR1)
        return means(terms)

    monkeypatch.setattr(heldout, "scalars", signalled)
    assert main(["evaluate", "runs/plane"]) == 75
    assert "preempted: stopped before the end" in capsys.readouterr().err
    assert sorted(here.rglob("*")) == before


def test_a_stopped_run_leaves_a_file_for_job_scripts(tmp_path):
    """Launchers do not pass exit codes on; the file is there until the run goes on."""
    trainer = Trainer(plane(), tmp_path / "run", quiet=True)
    at_step(trainer, 3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert trainer.fit() == "preempted"
    file = tmp_path / "run" / "stopped.json"
    facts = json.loads(file.read_text())
    assert facts == {
        "reason": "preempted",
        "exit_code": 75,
        "step": trainer.saved_step,
        "steps": 6,
    }
    assert Trainer(plane(), tmp_path / "run", resume=True, quiet=True).fit() is None
    assert not file.exists()
