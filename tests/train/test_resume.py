"""A run resumed is the run uninterrupted, bit for bit."""

import os
import signal

import pytest
import torch

from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.errors import CheckpointError, UsageError
from corekit.spec import run_spec
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import generate
from corekit.train.trainer import Trainer


def result(run):
    """Everything that a run leaves: weights, averages, optimizer, log, samples."""
    folder = sorted((run / "checkpoints").iterdir())[-1]
    trees = {name: read(folder, name) for name in ("model", "ema", "optimizer", "state")}
    records = RunFolder(run).records()
    log = [
        {k: v for k, v in record.items() if k not in ("steps_per_s", "cost")} for record in records
    ]
    return trees, log, generate(load(run), 3, seed=1)


def stopped_at(step, spec, run):
    """Train under the same spec and stop after some steps, as a signal would."""
    trainer = Trainer(spec, run, quiet=True)
    take = trainer._step

    def stopping(batch):
        if trainer.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(batch)

    trainer._step = stopping
    assert trainer.fit() == "preempted"
    assert trainer.saved_step == step


@pytest.fixture
def straight(make_spec, tmp_path):
    """Twenty steps without a stop."""
    Trainer(make_spec(), tmp_path / "straight", quiet=True).fit()
    return result(tmp_path / "straight")


@pytest.mark.filterwarnings("ignore:.*couple the rows")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_eleven_and_nine_steps_are_twenty(make_spec, tmp_path, workers, accumulate):
    options = {"workers": workers, "accumulate": accumulate, "batch_size": 8}
    Trainer(make_spec(**options), tmp_path / "a", quiet=True).fit()
    stopped_at(11, make_spec(**options), tmp_path / "b")
    torch.rand(5)  # the global generator moves on in between
    Trainer(make_spec(**options), tmp_path / "b", resume=True, quiet=True).fit()
    check_same(result(tmp_path / "a"), result(tmp_path / "b"))


def test_several_threads_add_in_the_same_order(make_spec, tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        Trainer(make_spec(), tmp_path / "a", quiet=True).fit()
        stopped_at(11, make_spec(), tmp_path / "b")
        Trainer(make_spec(), tmp_path / "b", resume=True, quiet=True).fit()
        check_same(result(tmp_path / "a"), result(tmp_path / "b"))
    finally:
        torch.set_num_threads(before)


def check_same(one, two):
    for name in one[0]:
        assert same(one[0][name], two[0][name]), name
    assert one[1][-1] == two[1][-1]
    assert torch.equal(one[2], two[2])


def test_workers_do_not_change_a_run(make_spec, tmp_path, straight):
    Trainer(make_spec(workers=2), tmp_path / "w", quiet=True).fit()
    check_same(straight, result(tmp_path / "w"))


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (signal.SIGTERM, "preempted"),
        (signal.SIGUSR1, "preempted"),
        (signal.SIGINT, "interrupted"),
    ],
)
def test_a_signal_saves_between_two_steps(make_spec, tmp_path, straight, number, reason):
    before = signal.getsignal(number)
    trainer = Trainer(make_spec(), tmp_path / "s", quiet=True)
    step = trainer._step

    def interrupted(batch):
        if trainer.step == 6:
            os.kill(os.getpid(), number)
        return step(batch)

    trainer._step = interrupted
    assert trainer.fit() == reason
    assert trainer.saved_step == 7
    Trainer(make_spec(), tmp_path / "s", resume=True, quiet=True).fit()
    check_same(straight, result(tmp_path / "s"))
    assert signal.getsignal(number) is before


def test_another_seed_is_another_run(make_spec, tmp_path, straight):
    Trainer(make_spec(seed=1), tmp_path / "o", quiet=True).fit()
    assert not same(straight[0]["model"], result(tmp_path / "o")[0]["model"])


def test_max_time_stops_and_saves(make_spec, tmp_path):
    trainer = Trainer(make_spec(max_time=1e-9), tmp_path / "t", quiet=True)
    assert trainer.fit() == "out of time"
    Trainer(make_spec(steps=2), tmp_path / "t", resume=True, quiet=True).fit()
    assert (tmp_path / "t" / "checkpoints" / "step-0000002").is_dir()


def test_resume_refuses_another_model_and_shows_the_difference(make_spec, tree, tmp_path):
    Trainer(make_spec(steps=2), tmp_path / "r", quiet=True).fit()
    tree["model"]["loss"]["kl_weight"] = 0.5
    with pytest.raises(CheckpointError, match=r'-.*"kl_weight": 0.01(.|\n)*\+.*"kl_weight": 0.5'):
        Trainer(run_spec(tree), tmp_path / "r", resume=True, quiet=True)


def test_resume_takes_more_steps_and_other_cadences(make_spec, tmp_path):
    Trainer(make_spec(steps=2), tmp_path / "m", quiet=True).fit()
    trainer = Trainer(make_spec(steps=3, log_every=1), tmp_path / "m", resume=True, quiet=True)
    assert trainer.step == 2
    assert trainer.fit() is None


def test_a_run_is_not_overwritten_and_nothing_is_not_resumed(make_spec, tmp_path):
    Trainer(make_spec(steps=1), tmp_path / "n", quiet=True).fit()
    with pytest.raises(UsageError, match=r"got one with a run in it. Continue it with --resume"):
        Trainer(make_spec(), tmp_path / "n", quiet=True)
    with pytest.raises(CheckpointError, match="no such folder"):
        Trainer(make_spec(), tmp_path / "none", resume=True, quiet=True)
