"""Stages that were stopped go on, inside any of them and between two, as if they had not been."""

import os
import signal
from pathlib import Path

import pytest
import torch
from plane_runs import at_step
from ranks import launch
from stage_parts import (
    STAGES,
    Killed,
    differing,
    killed,
    of_part,
    result,
    stage_parts,
    staged,
    trained,
    weights,
)

from corekit.checkpoint import find
from corekit.checkpoint.tree import same
from corekit.errors import CheckpointError
from corekit.train import stages as module
from corekit.train.stages import train_stages
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with stage_parts():
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run without a stop leaves: of a point posterior, and of a Gaussian."""
    found = {}
    with stage_parts():
        for point in (True, False):
            folder = tmp_path_factory.mktemp("whole")
            trained(staged(point=point), folder)
            found[point] = result(folder)
    return found


@pytest.fixture
def when(monkeypatch):
    """Do something before a step of a stage, in whichever trainer comes to it."""

    def act(number, step, action):
        make = module.Trainer

        def made(spec, path, **options):
            trainer = make(spec, path, **options)
            if path.name.startswith(f"{number}-"):
                at_step(trainer, step, lambda: action(trainer))
            return trainer

        monkeypatch.setattr(module, "Trainer", made)

    return act


def later(case):
    return pytest.param(*case, marks=pytest.mark.slow)


# -- stopping and going on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "step"), [(1, 3), (2, 3), *map(later, [(1, 1), (1, 6), (2, 1), (2, 6)])]
)
def test_a_run_that_was_stopped_in_a_stage_is_the_run_uninterrupted(
    tmp_path, whole, when, stage, step
):
    spec = staged(point=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Trainer", module.Trainer)
        when(stage, step, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))
        made = trained(spec, tmp_path / "parts")
    assert (made.reason, made.stage, made.step) == ("preempted", stage, step)
    torch.rand(3)  # the global generator moves on in between
    made = trained(spec, tmp_path / "parts", resume=True)
    assert (made.reason, made.stage, made.step) == (None, 2, 6)
    assert differing(whole[False], result(tmp_path / "parts")) == []


@pytest.mark.parametrize(("stage", "step"), [(2, 5), *map(later, [(1, 1), (1, 4), (2, 1)])])
def test_a_run_that_was_killed_in_a_stage_is_the_run_uninterrupted(
    tmp_path, whole, when, stage, step
):
    spec = staged(point=False)
    when(stage, step, killed)
    with pytest.raises(Killed):
        trained(spec, tmp_path / "parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Trainer", Trainer)
        trained(spec, tmp_path / "parts", resume=True)
    assert differing(whole[False], result(tmp_path / "parts")) == []


def test_a_run_that_was_killed_between_two_stages_goes_on(tmp_path, whole, monkeypatch):
    spec = staged()
    with monkeypatch.context() as patch:
        patch.setattr(module.Place, "_write", lambda place, facts: killed())
        with pytest.raises(Killed):
            trained(spec, tmp_path / "parts")
    before = weights(tmp_path / "parts", "1-autoencoder")
    trained(spec, tmp_path / "parts", resume=True)
    assert same(weights(tmp_path / "parts", "1-autoencoder"), before)
    assert differing(whole[True], result(tmp_path / "parts")) == []


def test_a_signal_between_two_stages_stops_before_the_second(tmp_path, whole, monkeypatch):
    write = module.Place._write

    def signalled(place, facts):
        write(place, facts)
        if place.number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(module.Place, "_write", signalled)
        made = trained(staged(), tmp_path / "run")
    assert (made.reason, made.stage, made.step) == ("preempted", 2, 0)
    assert trained(staged(), tmp_path / "run", resume=True).reason is None
    assert differing(whole[True], result(tmp_path / "run")) == []


@pytest.mark.slow
def test_the_first_stage_begins_with_other_weights_also_when_it_was_killed(tmp_path, when):
    trained(staged(seed=5), tmp_path / "old")
    when(1, 1, killed)
    with pytest.raises(Killed):
        trained(staged(), tmp_path / "new", start=tmp_path / "old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Trainer", Trainer)
        trained(staged(), tmp_path / "new", resume=True)
    origin = weights(tmp_path / "new", "1-autoencoder", file="state")["started_from"]
    assert origin["checkpoint"].endswith("old/stages/2-prior/checkpoints/step-0000006")


def test_a_stage_that_is_done_is_not_run_again(tmp_path, monkeypatch, capsys):
    trained(staged(), tmp_path / "run")
    monkeypatch.setattr(module, "Trainer", killed)
    made = train_stages(staged(), tmp_path / "run", resume=True)
    assert (made.stage, made.step, made.reason) == (2, 6, None)
    assert "stage 1 of 2, autoencoder: done" in capsys.readouterr().out


def test_a_stage_may_be_added_to_a_run(tmp_path, whole):
    trained(staged(stages=STAGES[:1]), tmp_path / "run")
    assert find(tmp_path / "run").parent.parent.name == "1-autoencoder"
    trained(staged(), tmp_path / "run", resume=True)
    assert differing(whole[True], result(tmp_path / "run")) == []


@pytest.mark.parametrize(
    ("number", "change", "words"),
    [
        (0, {"train": {"steps": 9}}, r'-.*"steps": 6(.|\n)*\+.*"steps": 9'),
        (0, {"parts": ["encoder.*"]}, r'-.*"decoder\.\*"'),
        (1, {"train": {"optimizer": {"lr": 0.5}}}, r'-.*"lr": 0.01(.|\n)*\+.*"lr": 0.5'),
        (0, {"name": "other"}, r"1-autoencoder: the stages of a run must stay what they were"),
    ],
)
def test_a_changed_stage_is_refused_with_what_differs(tmp_path, when, number, change, words):
    when(2, 3, lambda trainer: os.kill(os.getpid(), signal.SIGTERM))
    trained(staged(), tmp_path / "run")
    stages = [dict(stage) for stage in STAGES]
    stages[number] |= change
    with pytest.raises(CheckpointError, match=words):
        trained(staged(stages=stages), tmp_path / "run", resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_two_processes_train_stages_and_go_on(tmp_path, sharding):
    for process in launch(TOYS / "two_rank_stages.py", tmp_path, sharding):
        assert process.returncode == 0, process.stderr
    for rank in (0, 1):
        whole, stopped, resumed = torch.load(tmp_path / f"rank{rank}.pt")
        assert whole == resumed == (None, 2, 6)
        assert stopped[:2] == ("preempted", 2)
        assert stopped[2] in (3, 4)
    assert differing(result(tmp_path / "whole"), result(tmp_path / "parts")) == []
    start = weights(tmp_path / "whole", "1-autoencoder", file="ema")
    end = weights(tmp_path / "whole", "2-prior")
    assert same(of_part(end, "encoder.", "decoder."), of_part(start, "encoder.", "decoder."))
