"""Parts that learn from losses are told once per optimizer step, outside of forward."""

import pytest
import torch
from host_reads import HostReads
from learning_parts import LossAware, offered
from run_specs import small
from torch import nn

from corekit.checkpoint import load, read
from corekit.data.loading import Loader
from corekit.errors import PluginError
from corekit.train.observing import Observers
from corekit.train.processes import Processes
from corekit.train.trainer import Trainer


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with offered():
        yield


def batches(trainer):
    return iter(Loader(trainer.dataset.split("train"), trainer.train.batch_size, seed=0))


@pytest.mark.filterwarnings("ignore:.*couple the rows")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_all_rows_of_a_step_are_observed_at_once(tmp_path, accumulate):
    trainer = Trainer(small("latent", accumulate=accumulate, batch_size=8), tmp_path, quiet=True)
    sampler, loader = trainer.model.decoder.timesteps, batches(trainer)
    told = []
    sampler.observe = lambda t, losses: told.append((t, losses))
    for _ in range(2):
        trainer._step(next(loader))
    assert [(t.shape, losses.shape, t.dtype) for t, losses in told] == [
        ((8,), (8,), torch.int64)
    ] * 2
    assert not told[0][1].requires_grad


def test_forward_alone_teaches_nothing(tmp_path):
    trainer = Trainer(small("diffusion"), tmp_path, quiet=True)
    sampler = trainer.model.density.timesteps
    trainer.model(next(batches(trainer)))
    assert (sampler.calls, sampler.rows) == (0, 0)
    trainer._step(next(batches(trainer)))
    assert (sampler.calls, sampler.rows) == (1, 6)
    assert not torch.equal(sampler.means, torch.ones(20))


def test_what_was_learnt_is_saved_and_loaded(tmp_path):
    trainer = Trainer(small("diffusion"), tmp_path / "run", quiet=True)
    trainer.fit()
    stored = read(tmp_path / "run" / "checkpoints" / "step-0000010", "model")
    assert stored["density.timesteps.calls"] == 10
    means = trainer.model.density.timesteps.means
    assert torch.equal(load(tmp_path / "run").density.timesteps.means, means)


def test_a_name_that_is_no_part_is_a_bug_of_the_loss():
    observers = Observers(nn.Sequential(), Processes())
    with pytest.raises(PluginError, match=r"seen must name parts of the model, got 'a\.b'"):
        observers.collect({"a.b": (torch.zeros(1), torch.zeros(1))})


def test_a_part_that_learns_nothing_costs_nothing():
    model = nn.ModuleDict({"idle": nn.Linear(1, 1), "awake": LossAware()})
    observers = Observers(model, Processes())
    observers.collect({"idle": (torch.zeros(1), torch.zeros(1))})
    assert not observers._seen
    observers.collect({"awake": (torch.zeros(1, dtype=torch.int64), torch.zeros(1))})
    observers.tell()
    assert model["awake"].calls == 1
    observers.tell()
    assert model["awake"].calls == 1


def test_telling_never_waits_for_the_device():
    observers = Observers(nn.ModuleDict({"part": LossAware()}), Processes())
    with HostReads() as reads:
        for _ in range(2):
            observers.collect({"part": (torch.zeros(3, dtype=torch.int64), torch.ones(3))})
        observers.tell()
    assert reads.found == []
