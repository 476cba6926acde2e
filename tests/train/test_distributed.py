"""Two processes (gloo) train, stop, resume, sample and evaluate as one does."""

import warnings
from pathlib import Path

import pytest
import torch
from learning_parts import DataNorm, offered
from ranks import launch
from rows_of_all import one_gradient
from run_specs import small
from torch import nn

from corekit.build import build, build_dataset
from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.errors import UsageError
from corekit.flows.compose import Chain
from corekit.latent.elbo import WeightedElbo
from corekit.train.coupling import coupled, warn_of_coupled
from corekit.train.device import check_launch
from corekit.train.evaluation import evaluate
from corekit.train.heldout import heldout_loss
from corekit.train.processes import Processes
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import generate
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with offered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the two processes worked."""
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def ranks(folder):
    """What each of two processes found; see tests/toys/two_ranks.py."""
    for process in launch(TOYS / "two_ranks.py", folder):
        assert process.returncode == 0, process.stderr
    return [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("model", ["flow", "diffusion", "latent"])
def test_half_the_batch_in_each_of_two_gives_the_gradient_of_the_whole(ranks, tmp_path, model):
    whole = one_gradient(model, tmp_path / "one")
    for found in ranks:
        assert found[f"gradient {model}"].keys() == whole.keys()
        for name, gradient in found[f"gradient {model}"].items():
            torch.testing.assert_close(gradient, whole[name], rtol=1e-6, atol=1e-6, msg=name)
    assert max(gradient.abs().max() for gradient in whole.values()) > 0.01


@pytest.mark.parametrize("model", ["flow", "latent"])
def test_weights_stay_equal_in_all_processes(ranks, model):
    for name in [n for n, _ in built(model).named_parameters()]:
        assert torch.equal(ranks[0][model]["state"][name], ranks[1][model]["state"][name]), name
    before, after = ranks[0][model]["initial"], ranks[0][model]["state"]
    assert not same(before, after)


def built(name):
    return build(small(name))


def test_data_dependent_layers_start_from_all_the_data_in_every_process(ranks, tmp_path):
    trainer = Trainer(small("flow"), tmp_path / "one", quiet=True)
    initial = trainer.model.state_dict()
    assert initial["density.bijector.members.0.ready"]
    points = trainer.dataset.split("train").points()  # 60, where a step has 6
    torch.testing.assert_close(initial["density.bijector.members.0.shift"], points.mean(0))
    for found in ranks:
        for name, value in found["flow"]["initial"].items():
            assert torch.equal(value, initial[name]), name


def test_parts_that_couple_rows_are_named_once(ranks):
    said = ranks[0]["latent"]["warnings"]
    assert len(said) == 1
    assert "encoder.points.1 (BatchNorm1d)" in said[0]
    assert "each of 2 processes sees 3 rows of 6" in said[0]
    assert ranks[1]["latent"]["warnings"] == []
    assert ranks[0]["flow"]["warnings"] == []


@pytest.mark.parametrize(
    ("world", "accumulate", "words"),
    [
        (1, 3, "each of 3 accumulated parts sees 3 rows of 8, so"),
        (2, 1, "each of 2 processes sees 4 rows of 8, so"),
        (2, 3, "each of 3 accumulated parts in each of 2 processes sees 2 rows of 8, so"),
    ],
)
def test_who_sees_how_many_rows_is_said(world, accumulate, words):
    model = nn.Sequential(nn.BatchNorm1d(2))
    with pytest.warns(UserWarning, match=rf"0 \(BatchNorm1d\) couple the rows .*: {words}"):
        warn_of_coupled(model, 8, world, accumulate)
    warn_of_coupled(model, 8)
    warn_of_coupled(nn.Sequential(nn.Linear(2, 2)), 8, world, accumulate)


def test_accumulating_through_batch_norms_is_told(tmp_path):
    with pytest.warns(UserWarning, match="each of 3 accumulated parts sees 2 rows of 6"):
        Trainer(small("latent", accumulate=3), tmp_path / "run", quiet=True)


def test_losses_and_bijectors_that_say_so_couple_rows_too():
    model = nn.ModuleDict(
        {
            "loss": WeightedElbo(free_bits=0.5),
            "plain": WeightedElbo(),
            "flow": Chain((2,), None, of=[DataNorm]),
            "synced": nn.SyncBatchNorm(2),
        }
    )
    assert coupled(model) == ["loss (WeightedElbo)"]
    chain = Chain((2,), None, of=[DataNorm])
    chain.rows_coupled = chain.members[0].rows_coupled = True
    assert coupled(nn.ModuleDict({"flow": chain})) == ["flow.members.0 (DataNorm)"]


def test_the_rows_of_all_processes_are_the_batch_of_one(ranks, tmp_path):
    trainer = Trainer(small("latent"), tmp_path / "one", quiet=True)
    rows, take = [], trainer._step
    trainer._step = lambda batch: rows.append(batch.rows) or take(batch)
    trainer.fit()
    both = zip(ranks[0]["latent"]["rows"], ranks[1]["latent"]["rows"], strict=True)
    assert [first + second for first, second in both] == rows


def test_held_out_losses_are_of_the_weights_and_statistics_that_are_saved(ranks, folder):
    """Nine examples in batches of 6 and 3: each process takes one, with the same statistics."""
    logged = [r for r in RunFolder(folder / "latent").records() if r["split"] == "val"][-1]
    model = load(folder / "latent")
    spec = small("latent")
    found = heldout_loss(model, build_dataset(spec), spec.train, torch.device("cpu"))
    assert {name: logged[name] for name in found.values} == found.values


def test_every_process_has_noise_of_its_own(ranks):
    (first, second), (other, _) = ranks[0]["noise"], ranks[1]["noise"]
    assert not torch.isclose(first, other).any()
    assert not torch.isclose(first, second).any()


def test_the_main_process_makes_the_folder_and_writes_the_log(ranks, folder):
    records = list(RunFolder(folder / "latent").records())
    assert [(r["step"], r["split"]) for r in records] == [
        (4, "train"),
        (5, "train"),
        (5, "val"),
        (8, "train"),
        (10, "train"),
        (10, "val"),
    ]
    checkpoints = sorted(p.name for p in (folder / "latent" / "checkpoints").iterdir())
    assert checkpoints == ["step-0000008", "step-0000010"]


def test_a_signal_to_one_stops_all_after_the_same_step_and_they_go_on_bit_for_bit(ranks, folder):
    for found in ranks:
        assert found["reason"] == "preempted"
        assert found["resumed at"] == found["stopped at"]
        assert found["stopped at"] in (6, 7)  # the news travels during one step
    names = ("model", "ema", "optimizer")
    runs = [folder / name / "checkpoints" / "step-0000010" for name in ("latent", "stopped")]
    for name in names:
        assert same(read(runs[0], name), read(runs[1], name)), name


def test_losses_of_all_processes_are_observed_once_per_step(ranks):
    for found in ranks:
        state = found["latent"]["state"]
        assert state["decoder.timesteps.calls"] == 10
        assert state["decoder.timesteps.rows"] == 60  # 6 in a batch, 3 in each process
    means = [found["latent"]["state"]["decoder.timesteps.means"] for found in ranks]
    assert torch.equal(*means)
    assert not torch.equal(means[0], torch.ones(20))


def test_a_sampler_learns_from_uneven_batches_of_all_and_goes_on_bit_for_bit(ranks):
    """Two rows in one process and three in the other, six steps, never in a forward pass alone."""
    name = "density.timesteps."
    for found in ranks:
        assert not found["learnt in forward"]
        assert found["learnt"][name + "calls"] == 6
        assert found["learnt"][name + "rows"] == 30
        assert same(found["learnt"], found["learnt again"])
    first, second = (found["learnt"] for found in ranks)
    assert same(first, second)
    assert not torch.equal(first[name + "means"], torch.ones(20))


def test_draws_know_which_part_of_the_batch_they_are_for(ranks):
    """The gradient of the diffusion above takes its levels from all strata of the whole batch."""
    assert [found["draws are of"] for found in ranks] == [[(0, 2), (0, 2)], [(1, 2), (1, 2)]]


def test_parameters_that_a_step_leaves_unused_are_named_or_looked_for(ranks):
    for found in ranks:
        assert "got none for density.bijector.members.0.idle. Freeze them" in found["unused"]
        assert "train.find_unused: true" in found["unused"]
        assert torch.equal(found["found unused"]["density.bijector.members.0.idle"], torch.zeros(3))
    assert same(ranks[0]["found unused"], ranks[1]["found unused"])


def test_samples_are_drawn_by_all_and_are_the_samples_of_one(ranks, folder):
    alone = generate(load(folder / "flow"), 150, seed=3)
    for found in ranks:
        assert torch.equal(found["samples"], alone)
    assert [found["drawn here"] for found in ranks] == [86, 64]


def test_an_evaluation_of_two_finds_what_that_of_one_finds(ranks, folder):
    alone = evaluate(load(folder / "flow"), small("flow"))
    assert ranks[0]["evaluation"] == ranks[1]["evaluation"] == alone


def test_when_one_is_told_to_stop_all_leave_the_samples(ranks):
    assert [found["told"] for found in ranks] == ["preempted", "preempted"]


def test_rows_of_different_numbers_are_gathered_in_the_order_of_ranks(ranks):
    for found in ranks:
        assert found["uneven"].tolist() == [0, 1, 10, 11, 12]
        assert found["mean"] == {"a": 1.5}
        assert found["heard"] == [0, 0, 1, 0]


def test_an_error_of_the_main_process_is_raised_in_all_and_told_once(ranks):
    assert [found["refused"] for found in ranks] == [("no", False), ("no", True)]


def test_weights_sharded_in_other_ways_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(UsageError, match="shared out by FSDP2, got DeepSpeed"):
        Trainer(small("flow"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"WORLD_SIZE": "2"},
        # what `accelerate launch --cpu --num_processes 2` leaves
        {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"},
    ],
)
def test_fewer_processes_than_asked_are_refused(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=r"processes must start, got 1. Start them with: torchrun"):
        check_launch(1)


def test_a_launch_of_one_is_not_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    check_launch(1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_launch(2)


def test_one_process_talks_to_itself():
    one = Processes()
    assert one.main
    assert one.gather("x") == ["x"]
    assert one.greatest_so_far(2) == 2
    assert one.settle() == 0
    with pytest.raises(UsageError, match="no"):
        one.from_main(refuse)


def refuse():
    raise UsageError("no")


def test_a_single_process_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Trainer(small("latent"), tmp_path / "run", quiet=True)
