"""Half precision where it does no harm; compiled and laid out, a run is the same run."""

import copy

import numpy as np
import pytest
import torch

from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.data.loading import Loader
from corekit.interfaces.draws import Draws, seed_of
from corekit.spec import run_spec
from corekit.train.trainer import Trainer


def checkpoint(run):
    return sorted((run / "checkpoints").iterdir())[-1]


PRIORS = {
    "normal": "normal",
    "couplings": None,  # that of the fixture
    "linear": {"type": "flow", "bijector": {"type": "repeat", "times": 3, "of": "linear"}},
}


@pytest.mark.parametrize("prior", sorted(PRIORS))
def test_the_kl_of_bf16_training_is_that_of_full_precision(tree, tmp_path, prior):
    """From the same posterior and draw, to 1e-4: only the networks around it are rounded."""
    if PRIORS[prior]:
        tree["model"]["prior"] = PRIORS[prior]
    tree["train"] |= {"precision": "bf16"}
    trainer = Trainer(run_spec(tree), tmp_path / "run", quiet=True)
    seen = []
    trainer.model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output))
    wide = copy.deepcopy(trainer.model.prior).double()
    seed = seed_of(0, "data")
    values = trainer._step(next(iter(Loader(trainer.dataset.split("train"), 7, seed=seed))))
    (q,) = seen
    assert q.mu.dtype == torch.float32
    if prior == "normal":
        kl = 0.5 * (q.mu.double() ** 2 + q.log_var.double().exp() - q.log_var.double() - 1).sum(-1)
    else:
        draws = Draws(torch.Generator().manual_seed(seed_of(0, 0, "noise", 0)))
        z, _ = q.rsample_and_log_prob(draws)
        kl = -q.entropy().double() - wide.log_prob(z.double()).value
    assert values["kl"].dtype == torch.float32
    assert values["kl"].item() == pytest.approx(kl.mean().item(), rel=1e-4)


def test_bf16_rounds_networks_and_not_what_is_kept(make_spec, tmp_path):
    trainer = Trainer(make_spec(precision="bf16", steps=3), tmp_path / "run", quiet=True)
    outputs = []
    gate = trainer.model.decoder.denoiser.gate
    gate.register_forward_hook(lambda module, inputs, output: outputs.append(output.dtype))
    trainer.fit()
    assert set(outputs) == {torch.bfloat16}
    kept = [*trainer.model.parameters(), *trainer.ema.shadows[0.9]]
    assert {value.dtype for value in kept} == {torch.float32}


PLANE = {
    "version": 1,
    "model": {
        "type": "flow",
        "bijector": {
            "type": "repeat",
            "times": 2,
            "of": [{"type": "realnvp.affine_coupling", "hidden": 8}, "linear"],
        },
    },
    "data": {"type": "toy2d", "size": 64},
    "train": {"steps": 6, "batch_size": 8, "ema": 0.9, "device": "cpu", "log_every": 3},
}


def plane(**train):
    return run_spec({**PLANE, "train": {**PLANE["train"], **train}})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*_prims_common:FutureWarning")  # of torch, about itself
def test_a_compiled_run_has_the_same_names_and_nearly_the_same_weights(tmp_path):
    Trainer(plane(), tmp_path / "plain", quiet=True).fit()
    trainer = Trainer(plane(compile=True), tmp_path / "compiled", quiet=True)
    assert type(trainer.main.module).__name__ == "OptimizedModule"
    trainer.fit()
    plain, compiled = checkpoint(tmp_path / "plain"), checkpoint(tmp_path / "compiled")
    for name in ("model", "ema"):
        a, b = read(plain, name), read(compiled, name)
        assert list(a) == list(b)
        for key in a:
            torch.testing.assert_close(a[key], b[key], rtol=1e-4, atol=1e-5)
    assert load(tmp_path / "compiled").sample(2).shape == (2, 2)
    resumed = Trainer(
        plane(steps=8), tmp_path / "compiled", resume=True, quiet=True
    )  # not compiled
    assert resumed.step == 6
    assert resumed.fit() is None


class Images(torch.nn.Module):
    """A stand-in that looks at how its images and weights lie in memory."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)


def test_channels_last_moves_images_and_weights_and_no_numbers():
    from corekit.interfaces.records import Batch
    from corekit.spec import TrainSpec
    from corekit.train.faster import as_stored, lay_out

    model, x = Images(), torch.randn(2, 3, 8, 8)
    before = model.conv.weight.detach().clone()
    expected = model.conv(x)
    for asked in (False, True):
        train = TrainSpec(channels_last=asked)
        lay_out(model, train)
        moved = as_stored(Batch(x), train).x
        for tensor in (moved, model.conv.weight):
            assert tensor.is_contiguous(memory_format=torch.channels_last) == asked
        assert torch.equal(moved, x)
        assert torch.equal(model.conv.weight, before)
        torch.testing.assert_close(model.conv(moved), expected)
    assert as_stored(Batch(torch.randn(2, 5)), train).x.shape == (2, 5)


@pytest.mark.parametrize("optimizer", ["adam", "adamax", "sgd"])
def test_a_run_with_channels_last_resumes_bit_for_bit(tmp_path, optimizer):
    """What an optimizer remembers is laid out like its weights: fused kernels do not look."""
    rows = np.random.default_rng(0).normal(size=(24, 4, 8, 8)).astype("float32")
    np.save(tmp_path / "rows.npy", rows)
    momentum = {"momentum": 0.9} if optimizer == "sgd" else {}
    layer = {"type": "realnvp.affine_coupling", "hidden": 8}
    tree = {
        "version": 1,
        "model": {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": layer}},
        "data": {"type": "arrays", "path": str(tmp_path / "rows.npy")},
    }
    train = {"batch_size": 4, "ema": 0.9, "device": "cpu", "channels_last": True}
    train |= {"optimizer": {"type": optimizer, **momentum}}
    for name, stops in {"a": [6], "b": [3, 6]}.items():
        for i, steps in enumerate(stops):
            spec = run_spec({**tree, "train": {**train, "steps": steps}})
            trainer = Trainer(spec, tmp_path / name, resume=i > 0, quiet=True)
            trainer.fit()
    kernels = [p for p in trainer.main.parameters if p.ndim == 4]
    weights = [p for p in kernels if p.shape[1] > 1 and p.shape[-1] > 1]
    assert weights
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in weights)
    a, b = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")
    for name in ("model", "ema", "optimizer"):
        assert same(read(a, name), read(b, name)), name
