"""What the loop computes, logs and refuses."""

import math

import pytest
import torch

from corekit.build import build
from corekit.checkpoint import load, load_model, read
from corekit.data.loading import Loader, fixed_batches
from corekit.errors import DivergedError, UsageError
from corekit.interfaces.draws import Draws, seed_of
from corekit.interfaces.records import Batch, LossTerms
from corekit.spec import run_spec
from corekit.train.ema import Ema
from corekit.train.evaluation import evaluate
from corekit.train.heldout import heldout_loss
from corekit.train.lr_schedules import constant, linear_decay
from corekit.train.meter import Meter
from corekit.train.run_folder import RunFolder, default_run
from corekit.train.sampling import generate
from corekit.train.trainer import Trainer


def test_training_lowers_the_loss_and_logs_terms_with_units(make_spec, tmp_path):
    fast = {"type": "adam", "lr": 1e-2}
    spec = make_spec(
        steps=60, evaluate_every=20, lr_schedule="constant", log_every=10, optimizer=fast
    )
    Trainer(spec, tmp_path / "run", quiet=True).fit()
    records = list(RunFolder(tmp_path / "run").records())
    train = [r for r in records if r["split"] == "train"]
    held_out = [r for r in records if r["split"] == "val"]
    assert [r["step"] for r in train] == [10, 20, 30, 40, 50, 60]
    assert [r["step"] for r in held_out] == [20, 40, 60]
    assert held_out[-1]["reconstruction_mse"] < held_out[0]["reconstruction_mse"]
    assert train[-1]["units"] == {
        "reconstruction_mse": "squared error per coordinate",
        "kl": "nats",
        "negative_entropy": "nats",
        "cross_entropy": "nats",
    }
    assert {"kl", "grad_norm", "lr", "steps_per_s", "z_mean"} <= set(train[-1])


def test_held_out_loss_is_the_same_when_asked_again(make_spec, tmp_path):
    trainer = Trainer(make_spec(), tmp_path / "run", quiet=True)
    trainer.model.eval()
    values = [
        heldout_loss(trainer.model, trainer.dataset, trainer.train, trainer.device)
        for _ in range(2)
    ]
    assert values[0] == values[1]


def test_one_step_equals_plain_torch(make_spec, tmp_path):
    spec = make_spec(ema=None)
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    torch.manual_seed(seed_of(0, "weights"))
    model = build(spec).train()
    batch = next(iter(Loader(trainer.dataset.split("train"), 7, seed=seed_of(0, "data"))))
    trainer._step(batch)
    model.at_step(0)
    draws = Draws(torch.Generator().manual_seed(seed_of(0, 0, "noise", 0)))
    model(batch, draws=draws).total.mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    torch.optim.Adam(model.parameters(), 1e-3).step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(
            trainer.model.state_dict()[name], value, rtol=1e-5, atol=1e-6, msg=name
        )


class Linear(torch.nn.Module):
    """A stand-in whose loss and gradient are known: total = sum of x times w."""

    def __init__(self):
        super().__init__()
        self.w = torch.nn.Parameter(torch.ones(()))

    def forward(self, batch, draws=None):
        return LossTerms(batch.x.flatten(1).sum(1) * self.w)


@pytest.mark.filterwarnings("ignore:.*couple the rows")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_accumulation_weighs_a_short_last_part_by_its_rows(make_spec, tmp_path, accumulate):
    """7 rows in parts of 3, 3 and 1 give the loss and the gradient of 7 rows."""
    trainer = Trainer(make_spec(accumulate=accumulate), tmp_path / "run", quiet=True)
    trainer.main.module = Linear()
    trainer.main.parameters = list(trainer.main.module.parameters())
    x = torch.randn(7, 16, 3)
    values = trainer._step(Batch(x))
    mean = x.sum((1, 2)).mean()
    torch.testing.assert_close(values["loss"], mean)
    torch.testing.assert_close(values["grad_norm"], mean.abs())


def test_held_out_loss_is_a_mean_over_examples_not_over_batches(make_spec, tmp_path):
    trainer = Trainer(make_spec(batch_size=4), tmp_path / "run", quiet=True)  # 6 examples
    found = heldout_loss(Linear(), trainer.dataset, trainer.train, trainer.device)
    seed = seed_of(0, "heldout")
    whole = next(iter(fixed_batches(trainer.dataset.split("val"), seed, 6)))
    assert found.values["loss"] == pytest.approx(whole.x.sum((1, 2)).mean().item(), rel=1e-5)


def test_schedules_move_with_the_steps(make_spec, tmp_path):
    trainer = Trainer(make_spec(), tmp_path / "run", quiet=True)
    batches = iter(Loader(trainer.dataset.split("train"), 7, seed=0))
    for _ in range(4):
        trainer._step(next(batches))
    assert trainer.model.loss.beta.item() == pytest.approx(1e-2 * 3 / 15)
    assert trainer.main.optimizer.param_groups[0]["lr"] == 1e-3


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_term(make_spec, tmp_path):
    trainer = Trainer(make_spec(), tmp_path / "run", quiet=True)
    with torch.no_grad():
        trainer.model.decoder.denoiser.layers[0].weight.fill_(math.nan)
    with pytest.raises(DivergedError, match=r"must be finite, got loss = nan in steps up to 5"):
        trainer.fit()
    assert DivergedError.exit_code == 6
    assert list(RunFolder(tmp_path / "run").records())[-1]["loss"] == "nan"


def test_no_checkpoint_is_written_of_numbers_that_are_not_finite(make_spec, tmp_path):
    spec = make_spec(checkpoint_every=3, log_every=1000)
    trainer = Trainer(spec, tmp_path / "run", quiet=True)
    step = trainer._step

    def breaking(batch):
        if trainer.step == 4:
            with torch.no_grad():
                trainer.model.decoder.denoiser.layers[0].weight.fill_(math.nan)
        return step(batch)

    trainer._step = breaking
    with pytest.raises(DivergedError, match="The last checkpoint is of step 3"):
        trainer.fit()
    assert [p.name for p in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-0000003"]


def test_half_precision_on_a_cpu(make_spec, tmp_path):
    with pytest.raises(UsageError, match="fp32 or bf16 on a CPU, got fp16"):
        Trainer(make_spec(precision="fp16"), tmp_path / "a", quiet=True)
    Trainer(make_spec(precision="bf16", steps=3), tmp_path / "b", quiet=True).fit()
    weights = read(tmp_path / "b" / "checkpoints" / "step-0000003", "model")
    assert all(v.dtype != torch.bfloat16 for v in weights.values())


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_there(make_spec, tmp_path, device):
    with pytest.raises(UsageError, match=f"got '{device}' and no CUDA"):
        Trainer(make_spec(device=device), tmp_path / "run", quiet=True)


def test_old_checkpoints_are_deleted(make_spec, tmp_path):
    Trainer(make_spec(checkpoint_every=5, keep=2), tmp_path / "run", quiet=True).fit()
    folders = sorted(p.name for p in (tmp_path / "run" / "checkpoints").iterdir())
    assert folders == ["step-0000015", "step-0000020"]


def test_loading_gives_the_average_unless_told_otherwise(make_spec, tmp_path):
    Trainer(make_spec(), tmp_path / "run", quiet=True).fit()
    averaged, plain = load(tmp_path / "run"), load(tmp_path / "run", ema=False)
    folder = tmp_path / "run" / "checkpoints" / "step-0000020"
    name = "decoder.denoiser.layers.0.weight"
    assert torch.equal(averaged.state_dict()[name], read(folder, "ema")[name])
    assert torch.equal(plain.state_dict()[name], read(folder, "model")[name])
    assert not torch.equal(averaged.state_dict()[name], plain.state_dict()[name])
    assert not averaged.training
    assert load_model(folder)[0].loss.beta.item() == pytest.approx(1e-2)  # the warm-up is over


def test_sample_i_is_the_same_in_any_batch(make_spec, tmp_path, monkeypatch):
    Trainer(make_spec(steps=2), tmp_path / "run", quiet=True).fit()
    model = load(tmp_path / "run")
    whole = generate(model, 7, seed=3)
    monkeypatch.setattr("corekit.train.sampling.ROWS", 3)
    torch.testing.assert_close(generate(model, 7, seed=3), whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(generate(model, 2, seed=3), whole[:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(generate(model, 2, seed=4), whole[:2])


def test_average_of_weights_not_of_buffers():
    net = torch.nn.BatchNorm1d(2)
    ema = Ema(net, 0.5)
    with torch.no_grad():
        net.weight.fill_(3.0)
        net.running_mean.fill_(7.0)
    ema.update()  # the rate warms up: min(0.5, 1 / 10)
    state = ema.state_dict()
    assert state["weight"].tolist() == pytest.approx([0.1 * 1 + 0.9 * 3] * 2)
    assert state["running_mean"].tolist() == [7.0, 7.0]
    with ema.applied():
        assert net.weight[0].item() == pytest.approx(2.8)
    assert net.weight.tolist() == [3.0, 3.0]


def test_learning_rates():
    rate = linear_decay(start=10, end=20, end_lr=0.1, warmup_steps=4)
    assert [rate(s, 1.0) for s in (0, 1, 3, 4, 10)] == [0.25, 0.5, 1.0, 1.0, 1.0]
    assert rate(15, 1.0) == pytest.approx(0.55)
    assert rate(20, 1.0) == rate(10**6, 1.0) == 0.1
    assert constant()(7, 0.3) == 0.3


def test_meter_reads_means_and_starts_anew():
    meter = Meter()
    for value in (1.0, 3.0):
        meter.add({"loss": torch.tensor(value)})
    assert meter.read() == {"loss": 2.0}
    assert meter.read() == {}


def test_run_folders_are_numbered_and_logs_survive_a_torn_line(tmp_path):
    assert default_run("a/b/spec.yaml", tmp_path) == tmp_path / "spec"
    (tmp_path / "spec").mkdir()
    assert default_run("spec.yaml", tmp_path) == tmp_path / "spec-2"
    run = RunFolder(tmp_path / "spec")
    for step in (1, 2, 3):
        run.log({"step": step})
    with open(run.metrics, "a") as file:
        file.write('{"step": 4, "lo')
    run.rewind(2)
    assert [r["step"] for r in run.records()] == [1, 2]


@pytest.mark.slow
def test_a_flow_approaches_the_entropy_of_the_data(tmp_path):
    """Eight Gaussians: far better than one Gaussian, and never better than the truth."""
    coupling = {"type": "realnvp.affine_coupling", "hidden": 32}
    flow = {"type": "repeat", "times": 6, "of": [coupling, "linear"]}
    spec = run_spec(
        {
            "version": 1,
            "model": {"type": "flow", "bijector": flow},
            "data": {"type": "toy2d", "density": "eight_gaussians", "held_out": 1000},
            "train": {"steps": 800, "batch_size": 256, "optimizer": {"type": "adam", "lr": 3e-3}}
            | {"ema": 0.99, "device": "cpu"},
        }
    )
    Trainer(spec, tmp_path / "run", quiet=True).fit()
    found = evaluate(load(tmp_path / "run"), spec)
    (nats,) = [f for f in found["figures"] if f["name"] == "test/log_prob"]
    truth = nats["references"]["data"]
    assert truth == pytest.approx(-math.log(2 * math.pi * math.e), abs=0.1)  # log 8 + sd^2 = 1/8
    assert nats["protocol"]["kind"] == "exact"
    assert truth - 0.4 < nats["value"] < truth + 0.02
