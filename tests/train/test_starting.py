"""How runs start: from a checkpoint of another run, from an earlier checkpoint, from the data."""

import json

import pytest
import torch
from learning_parts import DataNorm, offered
from run_specs import MODELS, small

from corekit.checkpoint import load_model, read
from corekit.checkpoint.folder import steps
from corekit.checkpoint.tree import same
from corekit.data.loading import Loader
from corekit.errors import CheckpointError, UsageError
from corekit.flows.compose import Chain, Inverse
from corekit.flows.linear import Linear
from corekit.interfaces.draws import seed_of
from corekit.spec import run_spec
from corekit.train.run_folder import RunFolder
from corekit.train.trainer import Trainer


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with offered():
        yield


@pytest.fixture
def run(tmp_path):
    """A flow, trained for ten steps."""
    Trainer(small("flow", keep=9), tmp_path / "old", quiet=True).fit()
    return tmp_path / "old"


def other(times=2, hidden=8):
    """The flow of `small`, of another size."""
    tree = small("flow").model_dump()
    coupling = {"type": "realnvp.affine_coupling", "hidden": hidden}
    tree["model"]["bijector"] = {**MODELS["flow"]["bijector"], "times": times}
    tree["model"]["bijector"]["of"] = ["toy.data_norm", coupling, "linear"]
    return run_spec(tree)


def test_a_warm_start_takes_the_averages_and_nothing_else(run, tmp_path, capsys):
    spec = small("flow", optimizer={"type": "sgd", "lr": 1e-3})
    trainer = Trainer(spec, tmp_path / "new", start=run)
    assert "22 of 22 tensors from" in capsys.readouterr().out
    averaged = load_model(run)[0].state_dict()
    assert same(dict(trainer.model.state_dict()), dict(averaged))
    assert (trainer.step, trainer.ema.steps) == (0, 0)
    trainer.fit()
    folder = tmp_path / "new" / "checkpoints" / "step-0000010"
    origin = json.loads((folder / "provenance.json").read_text())["started_from"]
    assert origin["checkpoint"].endswith("old/checkpoints/step-0000010")
    assert (origin["step"], origin["weights"], origin["did_not_fit"]) == (10, "ema", [])
    assert len(origin["sha256"]) == 64
    again = Trainer(spec, tmp_path / "new", resume=True, quiet=True)
    assert again.started_from == origin


def test_a_warm_start_lists_what_does_not_fit_and_refuses(run, tmp_path):
    with pytest.raises(CheckpointError) as caught:
        Trainer(other(hidden=16), tmp_path / "new", start=run, quiet=True)
    words = str(caught.value)
    assert "got 10 that do not:" in words
    assert "net.layers.0.weight: (8, 1) in the checkpoint, (16, 1) in the model" in words
    assert "Take the 12 that fit with --what-fits." in words
    assert not (tmp_path / "new").exists()
    with pytest.raises(CheckpointError, match="a weight must fit the model of the spec, got none"):
        Trainer(small("diffusion"), tmp_path / "new", start=run, what_fits=True, quiet=True)


def test_what_fits_is_taken_and_the_rest_is_told(run, tmp_path, capsys):
    trainer = Trainer(other(times=3), tmp_path / "new", start=run, what_fits=True)
    told = capsys.readouterr().out
    assert "22 of 33 tensors" in told
    assert "members.6.shift: not in the checkpoint" in told
    members = trainer.model.density.bijector.members
    old = load_model(run)[0].density.bijector.members
    assert torch.equal(members[0].shift, old[0].shift)
    assert members[6].ready  # a new data-dependent layer starts from the data
    assert members[6].shift.abs().min() > 0


def test_an_earlier_checkpoint_goes_on_in_place_and_later_ones_are_set_aside(run):
    assert [p.name[-2:] for p in steps(run)] == ["04", "08", "10"]
    before = read(run / "checkpoints" / "step-0000010", "model")
    spec = small("flow", keep=9)
    trainer = Trainer(spec, run, resume=run / "checkpoints" / "step-0000004", quiet=True)
    assert trainer.step == 4
    assert [p.name[-2:] for p in steps(run)] == ["04"]
    aside = sorted(p.name for p in (run / "checkpoints" / "aside").iterdir())
    assert aside == ["step-0000008", "step-0000010"]
    assert max(r["step"] for r in RunFolder(run).records()) == 4
    trainer.fit()
    assert same(read(run / "checkpoints" / "step-0000010", "model"), before)


def test_a_checkpoint_goes_on_in_another_folder(run, tmp_path):
    source = run / "checkpoints" / "step-0000004"
    trainer = Trainer(small("flow"), tmp_path / "fork", resume=source, quiet=True)
    trainer.fit()
    assert [r["step"] for r in RunFolder(tmp_path / "fork").records()] == [4, 5, 8, 10]
    fork, old = (path / "checkpoints" / "step-0000010" for path in (tmp_path / "fork", run))
    assert same(read(fork, "model"), read(old, "model"))
    assert len(steps(run)) == 3
    with pytest.raises(UsageError, match="got one with a run in it"):
        Trainer(small("flow"), tmp_path / "fork", resume=run, quiet=True)


def test_the_best_checkpoint_stays_and_has_a_name(tmp_path):
    spec = small(
        "flow", evaluate_every=2, keep_best="nll", keep=1, steps=8, ema=None, checkpoint_every=100
    )
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    found = iter([5.0, 1.0, 3.0, 4.0])

    def log(split, values, **facts):
        values = {"nll": next(found)} if split == "val" else values
        return type(trainer).log(trainer, split, values, **facts)

    trainer.log = log
    trainer.fit()
    kept = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["best", "step-0000004", "step-0000008"]
    best = load_model(tmp_path / "run" / "checkpoints" / "best")[2]
    assert best.resolve().name == "step-0000004"
    assert load_model(tmp_path / "run")[2].name == "step-0000008"


def test_an_unknown_metric_for_the_best_is_told_with_those_there_are(tmp_path):
    trainer = Trainer(small("flow", evaluate_every=2, keep_best="kl"), tmp_path / "r", quiet=True)
    with pytest.raises(UsageError, match=r"what evaluation finds, got 'kl'. Found: loss, nll"):
        trainer.fit()


def test_data_dependent_layers_see_the_latents_and_leave_the_encoder(tmp_path):
    tree = small("latent").model_dump()
    tree["model"]["prior"] = {"type": "flow", "bijector": "toy.data_norm"}
    trainer = Trainer(run_spec(tree), tmp_path / "run", quiet=True)
    assert trainer.model.prior.bijector.ready
    assert trainer.model.prior.bijector.log_scale.abs().min() > 0
    norm = trainer.model.encoder.points[1]
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(8))


def first_shift(tmp_path, bijector, **train):
    """What the first layer of a flow found in the data, and the data."""
    tree = small("flow", **train).model_dump()
    tree["model"]["bijector"] = bijector
    trainer = Trainer(run_spec(tree), tmp_path / "run", quiet=True)
    return trainer, trainer.dataset.split("train").points()


def test_layers_start_from_as_many_rows_as_the_spec_says(tmp_path):
    trainer, points = first_shift(tmp_path, "toy.data_norm", init_rows=7)
    rows = next(iter(Loader(trainer.dataset.split("train"), 7, seed=seed_of(0, "data"))))
    shift = trainer.model.density.bijector.shift
    torch.testing.assert_close(shift, rows.x.mean(0))
    assert not torch.allclose(shift, points.mean(0))


def test_no_row_is_read_for_a_model_that_does_not_start_from_data(tmp_path, monkeypatch):
    def read(*_, **__):
        raise AssertionError("read")

    monkeypatch.setattr("corekit.train.starting.Loader", read)
    Trainer(small("latent"), tmp_path / "run", quiet=True)
    with pytest.raises(AssertionError, match="read"):
        Trainer(small("flow"), tmp_path / "other", quiet=True)


def test_a_few_rows_at_a_time_go_through_parts_that_start():
    """Whatever the size of the init set: 200 rows, 64 at most together, in order."""
    chain = Chain((2,), of=[Linear, DataNorm, Linear])
    seen = []
    take = chain[0]._forward
    chain[0]._forward = lambda x, context: seen.append(len(x)) or take(x, context)
    x = torch.randn(200, 2)
    with torch.no_grad():
        z = chain.initialize(x)
    assert seen == [64, 64, 64, 8]
    torch.testing.assert_close(z, chain(x)[0])
    assert chain[1].ready


def test_a_layer_that_runs_backwards_and_needs_data_forwards_is_refused(tmp_path):
    with pytest.raises(UsageError, match="DataNorm: it starts from the data that it maps forwards"):
        first_shift(tmp_path, {"type": "inverse", "of": "toy.data_norm"})


def test_a_layer_turned_round_twice_starts_from_its_data(tmp_path):
    inner = {"type": "inverse", "of": "toy.data_norm"}
    chain = {"type": "chain", "of": [inner, "linear"]}
    trainer, points = first_shift(tmp_path, {"type": "inverse", "of": chain})
    bijector = trainer.model.density.bijector
    shift = bijector.of[0].of.shift
    unturned = bijector.of[1].inverse(points)[0]  # what the layer gets
    torch.testing.assert_close(shift, unturned.mean(0), rtol=1e-4, atol=1e-5)


class BackwardNorm(DataNorm):
    """It can start from either side."""

    def initialize_inverse(self, z, context=None):
        self.shift.copy_(-z.mean(0) / z.std(0))
        self.log_scale.copy_(-z.std(0).log())
        return self._in_parts(self.inverse, z, context)


def test_a_layer_may_start_from_its_latents():
    layer = Inverse((2,), of=BackwardNorm)
    with torch.no_grad():
        x = layer.initialize(3 + 2 * torch.randn(500, 2))
    torch.testing.assert_close(x.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    torch.testing.assert_close(x.std(0), torch.ones(2), rtol=0, atol=1e-4)
