"""Averages: several rates, saved, resumed bit for bit, and used where they are asked for."""

import pytest
import torch

from corekit.checkpoint import load, read
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.errors import CheckpointError, SpecError
from corekit.spec import run_spec
from corekit.train.ema import Ema
from corekit.train.trainer import Trainer

WEIGHT = "decoder.denoiser.layers.0.weight"


def checkpoint(run):
    return sorted((run / "checkpoints").iterdir())[-1]


def test_each_rate_is_its_recursion():
    net = torch.nn.Linear(1, 1, bias=False)
    ema = Ema(net, [0.2, 0.9])
    expected = {0.2: net.weight.item(), 0.9: net.weight.item()}
    for n in range(30):
        with torch.no_grad():
            net.weight.fill_(float(n * n))
        ema.update()
        for rate in expected:
            r = min(rate, (1 + n) / (10 + n))
            expected[rate] = r * expected[rate] + (1 - r) * n * n
            assert ema.state_dict(rate)["weight"].item() == pytest.approx(expected[rate], rel=1e-5)
    assert same(ema.state_dict(), ema.state_dict(0.2))
    assert net.weight.item() == 29 * 29


@pytest.mark.filterwarnings("ignore:.*couple the rows")
def test_an_average_moves_once_per_optimizer_step(make_spec, tmp_path):
    trainer = Trainer(make_spec(steps=3, accumulate=3, batch_size=8), tmp_path / "run", quiet=True)
    trainer.fit()
    assert trainer.ema.steps == 3


@pytest.mark.parametrize("rates", [0.9, [0.9, 0.05, 0.999]], ids=str)
def test_a_resumed_average_is_the_average_uninterrupted(make_spec, tmp_path, rates):
    Trainer(make_spec(steps=9, ema=rates), tmp_path / "a", quiet=True).fit()
    Trainer(make_spec(steps=4, ema=rates), tmp_path / "b", quiet=True).fit()
    Trainer(make_spec(steps=9, ema=rates), tmp_path / "b", resume=True, quiet=True).fit()
    names = ["ema"] if rates == 0.9 else ["ema", "ema-0.05", "ema-0.999"]
    a, b = checkpoint(tmp_path / "a"), checkpoint(tmp_path / "b")
    assert {f.stem for f in a.glob("ema*.safetensors")} == set(names)
    for name in ["model", "optimizer", "state", *names]:
        assert same(read(a, name), read(b, name)), name


def test_buffers_are_the_models_own_in_every_average(make_spec, tmp_path):
    """Averaged running statistics would be those of weights that never were together."""
    Trainer(make_spec(steps=5, ema=[0.9, 0.05]), tmp_path / "run", quiet=True).fit()
    folder = checkpoint(tmp_path / "run")
    model = read(folder, "model")
    parameters = {name for name, _ in load(tmp_path / "run").named_parameters()}
    buffers = set(model) - parameters
    assert any(name.endswith("running_mean") for name in buffers)
    for average in (read(folder, "ema"), read(folder, "ema-0.05")):
        for name in buffers:
            assert torch.equal(average[name], model[name]), name
        assert not torch.equal(average[WEIGHT], model[WEIGHT])


def test_a_rate_is_loaded_by_its_number(make_spec, tmp_path):
    run = tmp_path / "run"
    Trainer(make_spec(steps=5, ema=[0.9, 0.05]), run, quiet=True).fit()
    folder = checkpoint(run)
    loaded = {ema: load(run, ema=ema).state_dict()[WEIGHT] for ema in (True, 0.9, 0.05, False)}
    files = {True: "ema", 0.9: "ema", 0.05: "ema-0.05", False: "model"}
    for ema, weight in loaded.items():
        assert torch.equal(weight, read(folder, files[ema])[WEIGHT])
    assert not torch.equal(loaded[0.9], loaded[0.05])
    with pytest.raises(CheckpointError, match=r"averaged, got 0\.7\. Rates: 0\.9, 0\.05"):
        load(run, ema=0.7)


def test_evaluations_use_the_first_rate(make_spec, tmp_path):
    def held_out(name, **options):
        trainer = Trainer(
            make_spec(steps=6, evaluate_every=6, **options), tmp_path / name, quiet=True
        )
        trainer.fit()
        return [r for r in trainer.run.records() if r["split"] == "val"][-1]["loss"]

    first = held_out("a", ema=[0.9, 0.05])
    assert first == held_out("b", ema=0.9)
    assert first != held_out("c", ema=[0.05, 0.9])


def test_sample_takes_the_rate_that_is_asked_for(make_spec, tmp_path, capsys):
    run = tmp_path / "run"
    Trainer(make_spec(steps=3, ema=[0.9, 0.05]), run, quiet=True).fit()
    base = ["sample", str(run), "--num", "2", "--device", "cpu"]
    files = {}
    for name, words in {"first": [], "same": ["--ema", "0.9"], "other": ["--ema", "0.05"]}.items():
        assert main([*base, "--out", str(tmp_path / name), *words]) == 0
        files[name] = (tmp_path / name).with_suffix(".npy").read_bytes()
    assert files["first"] == files["same"] != files["other"]
    assert main([*base, "--ema", "0.7"]) == 7
    assert "Rates: 0.9, 0.05." in capsys.readouterr().err


def test_an_average_over_frozen_parameters_keeps_them(make_spec, tmp_path):
    options = {"groups": [{"match": "prior.*", "freeze": True}], "ema": [0.9, 0.05]}
    Trainer(make_spec(steps=3, **options), tmp_path / "run", quiet=True).fit()
    folder = checkpoint(tmp_path / "run")
    frozen = [n for n in read(folder, "model") if n.startswith("prior.")]
    for name in frozen:
        assert torch.equal(read(folder, "ema-0.05")[name], read(folder, "model")[name])


@pytest.mark.parametrize(
    ("rates", "message"),
    [
        ([0.9, 0.9], r"ema must have different rates, got \[0.9, 0.9\]"),
        ([0.9, 1.5], r"ema\[1\].*less than 1, got 1.5"),
        ([], "must have at least 1 of them"),
        (1.5, "ema: must be less than 1, got 1.5"),
        ("fast", "ema: must be a number, got 'fast'"),
    ],
)
def test_rates_are_different_numbers_between_0_and_1(tree, rates, message):
    tree["train"]["ema"] = rates
    with pytest.raises(SpecError, match=message):
        run_spec(tree)
