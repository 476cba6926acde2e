"""Two processes (gloo), each with a share of the weights, train, stop, resume and sample."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from learning_parts import offered
from ranks import launch
from rows_of_all import one_gradient
from run_specs import small
from torch import nn

from corekit.build import build, build_dataset
from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.errors import UsageError
from corekit.train import device
from corekit.train.device import check_launch, make_accelerator, shards
from corekit.train.heldout import heldout_loss
from corekit.train.run_folder import RunFolder
from corekit.train.sampling import generate
from corekit.train.sharding import clip, units
from corekit.train.trainer import Trainer

TOYS = Path(__file__).parent.parent / "toys"
NAMES = ("model", "ema", "optimizer")


@pytest.fixture(autouse=True)
def parts():
    """Specs may name the toys."""
    with offered():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the two processes worked."""
    return tmp_path_factory.mktemp("sharded")


@pytest.fixture(scope="module")
def ranks(folder):
    """What each of two processes found; see tests/toys/sharded_ranks.py."""
    for process in launch(TOYS / "sharded_ranks.py", folder):
        assert process.returncode == 0, process.stderr
    return [torch.load(folder / f"rank{rank}.pt") for rank in (0, 1)]


def last(run):
    return run / "checkpoints" / "step-0000010"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["flow", "latent"])
def test_each_process_keeps_a_share_of_weights_averages_and_memory(ranks, model):
    total = ranks[0][f"whole {model}"]
    for what in ("weights", "average", "memory"):
        here = [found[f"here {model}"][what] for found in ranks]
        assert sum(here) == total
        assert max(here) < 0.6 * total


@pytest.mark.slow
def test_the_whole_weights_are_given_back(ranks):
    assert [found["freed"] for found in ranks] == [0, 0]


@pytest.mark.slow
def test_large_bijectors_and_denoisers_gather_for_themselves(ranks):
    assert ranks[0]["units flow"] == ["FlowModel", *2 * ["AffineCoupling"]]
    assert ranks[0]["units latent"] == ["LatentModel", *2 * ["AffineCoupling"], "PointwiseNet"]


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gain", "latent"])
def test_shares_of_the_batch_give_the_gradient_of_the_whole(ranks, tmp_path, model):
    expected = one_gradient(model, tmp_path / "one")
    for found in ranks:
        assert found[f"gradient {model}"].keys() == expected.keys()
        for name, gradient in found[f"gradient {model}"].items():
            torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.slow
def test_accumulated_gradients_are_averaged_once(ranks):
    for found in ranks:
        for name, gradient in found["gradient gain"].items():
            parts = found["gradient in parts"][name]
            torch.testing.assert_close(parts, gradient, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.slow
def test_a_stopped_sharded_run_goes_on_bit_for_bit(ranks, folder):
    assert [found["reason"] for found in ranks] == 2 * ["preempted"]
    straight, stopped = (
        folder / run / "checkpoints" / "step-0000008" for run in ("straight", "stopped")
    )
    for name in NAMES:
        assert same(read(straight, name), read(stopped, name)), name
    start = build(small("latent")).state_dict()
    assert not same(dict(start), read(straight, "model"))


@pytest.mark.slow
def test_its_checkpoints_are_those_of_two_processes_with_whole_weights(ranks, folder):
    """Names, shapes and types are the same; the numbers differ by the order of sums alone."""
    run = "shares"  # from step 8 on, and in bf16
    for name in NAMES:
        sharded, whole = read(last(folder / run), name), read(last(folder / "whole"), name)
        pairs = list(zip(leaves(sharded), leaves(whole), strict=True))
        assert len(pairs) > 20
        for (path, value), (other, expected) in pairs:
            assert path == other
            if isinstance(value, torch.Tensor):
                assert (value.shape, value.dtype) == (expected.shape, expected.dtype)
                torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8, msg=str(path))
    logged = [[*RunFolder(folder / name).records()][-1] for name in (run, "whole")]
    assert logged[0]["split"] == logged[1]["split"] == "val"
    assert logged[0]["nll"] == pytest.approx(logged[1]["nll"], rel=1e-6)


def leaves(tree, path=()):
    if isinstance(tree, (dict, list, tuple)):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(value, (*path, key))
    else:
        yield path, tree


@pytest.mark.slow
def test_one_process_goes_on_where_two_with_shares_were(ranks, folder, tmp_path):
    source = folder / "flow" / "checkpoints" / "step-0000008"
    with pytest.warns(UserWarning, match="the run had 2 processes, now it has 1"):
        trainer = Trainer(small("flow"), tmp_path / "on", resume=source, quiet=True)
    assert same(dict(trainer.model.state_dict()), read(source, "model"))
    trainer.fit()
    assert trainer.step == 10


@pytest.mark.slow
def test_two_with_shares_go_on_where_two_with_whole_weights_were(ranks):
    for found in ranks:
        for shares, stored in zip(found["whole then shares"], found["whole"], strict=True):
            assert same(dict(shares), stored)


@pytest.mark.slow
def test_samples_of_a_sharded_run_are_those_of_its_checkpoint(ranks, folder):
    """The processes drew other numbers of samples than each other, from averaged weights."""
    assert [found["own flow"] for found in ranks] == [2, 3]
    drawn = torch.from_numpy(np.load(folder / "flow" / "samples" / "step-0000010.npy"))
    assert torch.equal(drawn, generate(load(folder / "flow"), 100, seed=0))


@pytest.mark.slow
def test_held_out_losses_of_a_sharded_run_are_those_of_its_checkpoint(ranks, folder):
    spec = small("latent")
    logged = [r for r in RunFolder(folder / "latent").records() if r["split"] == "val"][-1]
    found = heldout_loss(
        load(folder / "latent"), build_dataset(spec), spec.train, torch.device("cpu")
    )
    assert {name: logged[name] for name in found.values} == found.values


@pytest.mark.slow
def test_entry_points_gather_the_weights(ranks):
    for found in ranks:
        for value, expected in found["entered"]:
            assert torch.equal(value, expected)
        assert found["here after entry"] == found["here flow"]["weights"]


@pytest.mark.slow
def test_an_entry_point_may_call_another(ranks):
    for found in ranks:
        torch.testing.assert_close(*found["turned"])


@pytest.mark.slow
def test_all_processes_have_the_buffers_of_the_first(ranks):
    """Running statistics are those of the rows of the first process, as with DDP."""
    first, second = (found["buffers"] for found in ranks)
    moved = [n for n in first if n.endswith("running_mean")]
    assert moved
    for name in moved:
        assert first[name].abs().max() > 0
        assert torch.equal(first[name], second[name]), name


@pytest.mark.slow
def test_norms_of_shares_and_whole_gradients_are_one(ranks):
    """The norm that is clipped and logged is that of all numbers."""
    for found in ranks:
        norm, expected, clipped = found["norm"]
        torch.testing.assert_close(norm, expected)
        torch.testing.assert_close(clipped, torch.tensor(1.0), rtol=1e-5, atol=1e-5)


def test_without_shares_clipping_is_that_of_torch():
    weights = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(()))]
    others = [nn.Parameter(p.detach().clone()) for p in weights]
    for p, q in zip(weights, others, strict=True):
        p.grad = torch.randn_like(p)
        q.grad = p.grad.clone()
    assert torch.equal(clip(weights, 0.1), nn.utils.clip_grad_norm_(others, 0.1))
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(weights, others, strict=True))


def test_one_process_has_nothing_to_share(tmp_path):
    trainer = Trainer(small("flow", sharding="full"), tmp_path / "run", quiet=True)
    assert not trainer.sharding.on
    trainer.fit()
    assert trainer.step == 10


def test_small_parts_are_gathered_with_the_model():
    assert units(build(small("flow")), 1 << 20) == []


def test_accelerate_launch_with_fsdp2_shards(monkeypatch):
    train = small("flow").train
    assert not shards(train)
    assert shards(small("flow", sharding="full").train)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_VERSION", "2")
    assert shards(train)
    seen = []
    monkeypatch.setattr(device, "check_launch", lambda _: None)
    monkeypatch.setattr(
        device,
        "Accelerator",
        lambda **_: seen.append(dict(os.environ)) or SimpleNamespace(num_processes=1),
    )
    make_accelerator(train)
    assert "ACCELERATE_USE_FSDP" not in seen[0]  # itself it shards nothing
    assert shards(train)


@pytest.mark.parametrize(
    ("environment", "word"),
    [
        ({"ACCELERATE_USE_FSDP": "true"}, "fsdp_version 1"),
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "DeepSpeed"),
        ({"FSDP_OFFLOAD_PARAMS": "true"}, "fsdp_offload_params"),
    ],
)
def test_other_ways_of_sharding_are_refused(monkeypatch, environment, word):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=f"shared out by FSDP2, got {word}. Leave it out"):
        check_launch(1)


@pytest.mark.slow
def test_a_compiled_sharded_run_is_nearly_the_run(tmp_path):
    train = {"steps": 4, "batch_size": 6, "device": "cpu", "sharding": "full"}
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "--"]
    for name in ("plain", "compiled"):
        tree = {
            "version": 1,
            "model": {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": "linear"}},
            "data": {"type": "toy2d", "size": 60, "held_out": 40},
            "train": {**train, "compile": name == "compiled"},
        }
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(tree))
        command = [*start, "corekit", "train", f"{name}.yaml", "--quiet"]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    runs = [tmp_path / "runs" / name / "checkpoints/step-0000004" for name in ("plain", "compiled")]
    plain, compiled = (read(run, "model") for run in runs)
    assert list(plain) == list(compiled)
    for name in plain:
        torch.testing.assert_close(plain[name], compiled[name], rtol=1e-5, atol=1e-6)
