"""Runs of a Glow: they go on bit for bit, in two processes as in one, and use their averages."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from ranks import launch
from resuming import Case, check
from run_specs import small

from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.train.evaluation import evaluate
from corekit.train.sampling import generate
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"
FILES = ("model", "ema", "optimizer", "state")


def checkpoint(run, step):
    return run / "checkpoints" / f"step-{step:07d}"


def norms(state):
    """What the ActNorms of steps and networks keep, by name."""
    ends = ("shift", "log_scale", "initialised")
    found = {name: value for name, value in state.items() if name.endswith(ends)}
    assert len(found) == 3 * 4 * 3  # in each of four steps three, two of them in the network
    return found


# bug 1 of the torch ports: a loaded or resumed model starts from data again, as nothing is saved
# that tells that it has


@pytest.mark.parametrize("stopped_at", [0, 1, 3])
@pytest.mark.parametrize("again", [False, True])
def test_a_glow_that_was_stopped_is_the_glow_uninterrupted(stopped_at, again, tmp_path):
    options = {"steps": 6, "activation_checkpointing": again}
    Trainer(small("glow", **options), tmp_path / "whole", quiet=True).fit()
    first = Trainer(small("glow", **options | {"steps": max(stopped_at, 1)}), tmp_path / "parts")
    started = copy.deepcopy(norms(first.model.state_dict()))
    assert all(value.all() for name, value in started.items() if name.endswith("initialised"))
    if stopped_at:
        first.fit()
    else:
        first.save()
    torch.rand(3)  # the global generator moves on in between
    second = Trainer(small("glow", **options), tmp_path / "parts", resume=True, quiet=True)
    assert second.step == stopped_at
    if not stopped_at:
        assert same(norms(second.model.state_dict()), started)
    second.fit()
    whole, parts = (read_all(tmp_path / name) for name in ("whole", "parts"))
    assert [name for name in FILES if not same(whole[name], parts[name])] == []
    assert not same(norms(whole["model"]), started)


def read_all(run):
    return {name: read(checkpoint(run, 6), name) for name in FILES}


@pytest.mark.parametrize("stop", ["signal", "checkpoint", "killed"])
def test_a_glow_goes_on_however_it_was_stopped(stop, tmp_path):
    assert check(Case("glow", 0, "fp32", 1, 1, stop), tmp_path) == []


# bug 14 of the torch ports: averaged weights are kept, and never used


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A Glow, trained for twelve steps with averages."""
    folder = tmp_path_factory.mktemp("averages") / "run"
    spec = small("glow", steps=12, optimizer={"type": "adamax", "lr": 0.02}, checkpoint_every=12)
    Trainer(spec, folder, quiet=True).fit()
    return folder


def test_averages_of_a_glow_are_those_of_all_its_weights_and_of_no_buffer(run):
    model, averaged = (read(checkpoint(run, 12), name) for name in ("model", "ema"))
    weights = {name for name, _ in load(run).named_parameters()}
    zero = {name for name in weights if not model[name].any()}  # gradients have not come so far
    for name in model:
        assert torch.equal(model[name], averaged[name]) == (name not in weights or name in zero)
    assert len(zero) < len(weights) / 4


def test_samples_and_evaluations_of_a_glow_use_its_averages(run, tmp_path, capsys):
    averaged, raw = load(run), load(run, ema=False)
    stored = read(checkpoint(run, 12), "ema")
    assert same(dict(averaged.state_dict()), stored)
    spec = small("glow")
    for number, model in {"averaged": averaged, "raw": raw}.items():
        options = [] if number == "averaged" else ["--no-ema"]
        out = tmp_path / number
        assert main(["sample", str(run), "--num", "4", "--out", str(out), *options]) == 0
        expected = generate(model, 4, seed=0).numpy()
        assert np.array_equal(np.load(out.with_suffix(".npy")), expected)
    figures = [
        {f["name"]: f["value"] for f in evaluate(model, spec, split="val")["figures"]}
        for model in (averaged, raw)
    ]
    assert figures[0] != figures[1]


def test_no_name_of_a_weight_tells_how_it_was_trained(run):
    """Bug 13 of the torch ports: names in a checkpoint begin with ``module.``."""
    assert list(read(checkpoint(run, 12), "model")) == list(load(run).state_dict())


# bug 15 of the torch ports: each process starts from rows of its own, and ActNorms differ for ever


@pytest.mark.slow
def test_two_processes_keep_actnorms_identical(tmp_path):
    for process in launch(TOYS / "glow_ranks.py", tmp_path, timeout=900):
        assert process.returncode == 0, process.stderr
    first, second = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert len(first["rows"]) == 5
    for one, other in zip(first["rows"], second["rows"], strict=True):
        assert one.shape == other.shape == (3, 1, 8, 8)
        assert not torch.equal(one, other)
    for when in ("initial", "state"):
        one, other = norms(first[when]), norms(second[when])
        assert max(float((one[k].float() - other[k].float()).abs().max()) for k in one) == 0.0
        assert all(value.all() for name, value in one.items() if name.endswith("initialised"))
        assert same(first[when], second[when])
    spec = small("glow", steps=5, init_rows=12)
    alone = Trainer(spec, tmp_path / "alone", quiet=True)
    assert same(dict(alone.model.state_dict()), first["initial"])  # of rows of both processes
    assert not same(norms(first["state"]), norms(first["initial"]))
    assert not any("module." in name for name in read(checkpoint(tmp_path / "run", 5), "model"))
