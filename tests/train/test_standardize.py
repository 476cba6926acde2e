"""Models compute with standardised data, and take and give data as they are."""

import json
import math

import numpy as np
import pytest
import torch
from learning_parts import offered
from run_specs import MODELS

from corekit.build import build, build_dataset
from corekit.checkpoint import load, read
from corekit.checkpoint.load import load_model
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.data.arrays import Arrays
from corekit.data.csv_table import Csv
from corekit.data_spec import DataSpec
from corekit.errors import DataError, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch
from corekit.spec import run_spec
from corekit.train.evaluation import evaluate
from corekit.train.reconstruction import reconstruct
from corekit.train.trainer import Trainer

MEAN, STD = (1000.0, -3.0, 0.02), (5.0, 40.0, 0.001)
FLOW = {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": "linear"}}
TRAIN = {
    "steps": 6,
    "batch_size": 16,
    "log_every": 3,
    "checkpoint_every": 3,
    "evaluate_every": 6,
    "ema": 0.9,
    "device": "cpu",
}


def write_table(path, rows=400):
    """Three columns of very different scales."""
    x = np.random.default_rng(0).normal(MEAN, STD, (rows, 3))
    lines = ["year,profit,rate", *(",".join(map(repr, row)) for row in x.tolist())]
    path.write_text("\n".join(lines) + "\n")
    return x


def table_spec(path, model=FLOW, *, standardize=True, **train):
    data = {"type": "csv", "path": str(path), "standardize": standardize}
    return run_spec({"version": 1, "model": model, "data": data, "train": {**TRAIN, **train}})


def both(model, shape, mean, std):
    """The same weights, with standardisation and without, in float64."""
    plain, built = (
        build(
            run_spec({"version": 1, "model": model, "data": "toy2d", "train": {}}),
            data=DataSpec(shape, mean=m, std=s),
        )
        for m, s in ((None, None), (mean, std))
    )
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=noise))
    missing, unexpected = built.load_state_dict(plain.state_dict(), strict=False)
    assert not unexpected
    assert all(".standard." in name for name in missing)
    return plain.double().eval(), built.double().eval()


def draws():
    return Draws(torch.Generator().manual_seed(3))


@pytest.fixture
def toys():
    with offered():
        yield


CLOUD = (16, 3)
CASES = {
    "flow": (FLOW, (3,), MEAN, STD),
    "flow of clouds": (
        {"type": "flow", "bijector": {"type": "chain", "of": ["toy.gain"]}},
        CLOUD,
        (5.0,),
        (7.0,),
    ),
    "diffusion": (MODELS["diffusion"], CLOUD, (5.0,), (7.0,)),
    "latent": (
        {**MODELS["latent"], "decoder": {"type": "gaussian", "hidden": [8]}},
        CLOUD,
        (5.0,),
        (7.0,),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_everything_is_that_of_the_plain_model_on_standardised_data(name, toys):
    model, shape, mean, std = CASES[name]
    plain, built = both(model, shape, mean, std)
    u = torch.randn(5, *shape, dtype=torch.float64)
    mean, std = (torch.tensor(v, dtype=torch.float32).double() for v in (mean, std))
    x = u * std + mean
    logdet = -std.expand(shape).log().sum()
    theirs, ours = plain(Batch(u), draws=draws()), built(Batch(x), draws=draws())
    assert theirs.terms.keys() == ours.terms.keys()
    for term, value in theirs.terms.items():
        nats = term.endswith("nll")
        torch.testing.assert_close(ours.terms[term], value - logdet if nats else value)
    shift = -logdet if any(t.endswith("nll") for t in theirs.terms) else 0
    torch.testing.assert_close(ours.total, theirs.total + shift)
    samples = (m.sample(4, generator=draws()) for m in (plain, built))
    torch.testing.assert_close(next(samples) * std + mean, next(samples))
    if name == "diffusion":
        return
    log_probs = plain.log_prob(u, generator=draws()), built.log_prob(x, generator=draws())
    torch.testing.assert_close(log_probs[1].value, log_probs[0].value + logdet)
    assert log_probs[0].kind is log_probs[1].kind
    torch.testing.assert_close(built.encode(x), plain.encode(u))
    copies = plain.reconstruct(u, generator=draws()), built.reconstruct(x, generator=draws())
    torch.testing.assert_close(copies[1], copies[0] * std + mean)


def test_layers_that_start_from_data_see_them_standardised(toys):
    model = {"type": "flow", "bijector": {"type": "chain", "of": ["toy.data_norm"]}}
    _, built = both(model, (3,), MEAN, STD)
    mean, std = (torch.tensor(v, dtype=torch.float64) for v in (MEAN, STD))
    u = torch.randn(500, 3, dtype=torch.float64)
    with torch.no_grad():
        built.initialize(Batch(u * std + mean), draws())
    norm = built.density.bijector.members[0]
    torch.testing.assert_close(norm.shift.detach(), u.mean(0), rtol=0, atol=1e-3)
    torch.testing.assert_close(norm.log_scale.detach(), u.std(0).log(), rtol=0, atol=1e-3)


def test_the_density_of_data_as_they_are_integrates_to_one():
    _, model = both(FLOW, (1,), (300.0,), (0.25,))
    x = torch.linspace(280, 320, 200_001, dtype=torch.float64)[:, None]
    density = model.log_prob(x).value.exp()
    assert torch.trapezoid(density, x[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_statistics_are_those_of_the_training_rows(tmp_path):
    x = np.random.default_rng(1).normal(MEAN, STD, (5000, 3)).astype(np.float32)
    x[4000:] += 100
    np.savez(tmp_path / "a.npz", train=x[:4000], test=x[4000:])
    data = Arrays(tmp_path / "a.npz", standardize=True)
    train = data.split("train")
    rows = train.get_batch(range(len(train))).x.double()
    assert 3000 < len(train) < 4000  # some are held out
    assert data.data_spec.mean == pytest.approx(rows.mean(0).tolist(), rel=1e-9)
    assert data.data_spec.std == pytest.approx(rows.std(0, correction=0).tolist(), rel=1e-7)
    assert torch.equal(train.get_batch([0]).x[0].double(), rows[0])  # data stay as they are
    assert Arrays(tmp_path / "a.npz").data_spec.mean is None


def test_events_that_are_no_vectors_have_one_scale(tmp_path):
    x = np.random.default_rng(1).normal(5, 2, (50, 4, 3)).astype(np.float32)
    np.save(tmp_path / "clouds.npy", x)
    data = Arrays(tmp_path / "clouds.npy", standardize=True, held_out=0.0)
    assert data.data_spec.mean == pytest.approx([x.mean(dtype=np.float64)])
    assert data.data_spec.std == pytest.approx([x.std(dtype=np.float64)], rel=1e-6)


@pytest.mark.parametrize("spread", [0.0, 1e-5])
def test_a_column_that_does_not_vary_is_refused_by_its_name(tmp_path, spread):
    rows = "".join(f"{i},{2000 + spread * i}\n" for i in range(9))
    (tmp_path / "a.csv").write_text("n,year\n" + rows)
    with pytest.raises(DataError, match=r"column 'year' must vary .* got 2000"):
        Csv(tmp_path / "a.csv", standardize=True)


def test_levels_are_not_standardised(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((9, 3), np.uint8))
    with pytest.raises(DataError, match="standardize must be left out of such data, got 256 lev"):
        Arrays(tmp_path / "a.npy", standardize=True)


def test_a_model_that_cannot_undo_it_is_refused(tmp_path, toys):
    write_table(tmp_path / "a.csv")
    with pytest.raises(UsageError, match="Gan: it cannot undo a standardisation"):
        Trainer(table_spec(tmp_path / "a.csv", {"type": "toy.gan"}), tmp_path / "run")


def test_a_run_on_columns_of_different_scales(tmp_path, capsys):
    """Log, samples, held-out likelihood, checkpoints and commands: all in the units of the data."""
    x = write_table(tmp_path / "a.csv")
    spec = table_spec(tmp_path / "a.csv")
    run = tmp_path / "run"
    Trainer(spec, run, quiet=True).fit()
    model, stored, folder = load_model(run)
    assert (abs(np.array(model.data.mean) - MEAN) < 0.2 * np.array(STD)).all()
    samples = model.sample(4000, generator=draws()).double()
    for got, mean, std in zip(samples.T, x.mean(0), x.std(0), strict=True):
        assert abs(got.mean().item() - mean) < 0.1 * std
        assert got.std().item() == pytest.approx(std, rel=0.1)
    figures = {row["name"]: row for row in evaluate(model, stored, split="test")["figures"]}
    likelihood = figures["test/log_prob"]
    truth = -sum(math.log(s * math.sqrt(2 * math.pi * math.e)) for s in STD)
    assert likelihood["protocol"]["kind"] == "exact"
    assert likelihood["value"] == pytest.approx(truth, abs=1.0)
    assert figures["test/nll"]["value"] == pytest.approx(-likelihood["value"], rel=1e-5)
    weights = read(folder, "model")
    assert weights["density.standard.mean"].tolist() == pytest.approx(model.data.mean)
    assert main(["sample", str(run), "--num", "50"]) == 0
    array = np.load(capsys.readouterr().out.split()[-1].replace(".png", ".npy"))
    assert abs(array[:, 0].mean() - 1000) < 5


def test_a_latent_model_reconstructs_in_the_units_of_the_data(tmp_path):
    x = np.random.default_rng(0).normal(50, 3, (60, 16, 3)).astype(np.float32)
    np.save(tmp_path / "a.npy", x)
    data = {"type": "arrays", "path": str(tmp_path / "a.npy"), "standardize": True}
    tree = {"version": 1, "model": CASES["latent"][0], "data": data, "train": TRAIN}
    Trainer(run_spec(tree), tmp_path / "run", quiet=True).fit()
    model, stored, _ = load_model(tmp_path / "run")
    originals, copies = reconstruct(model, build_dataset(stored), "test", 0)
    assert originals.mean().item() == pytest.approx(50, abs=1)
    assert copies.mean().item() == pytest.approx(50, abs=3)


def test_a_standardised_run_resumes_bit_for_bit_from_the_constants_of_its_checkpoint(tmp_path):
    write_table(tmp_path / "a.csv")
    for name, stops in {"whole": [6], "parts": [3, 6]}.items():
        for i, steps in enumerate(stops):
            spec = table_spec(tmp_path / "a.csv", steps=steps, evaluate_every=3)
            Trainer(spec, tmp_path / name, resume=i > 0, quiet=True).fit()
    folders = [tmp_path / name / "checkpoints" / "step-0000006" for name in ("whole", "parts")]
    for tree in ("model", "ema", "optimizer"):
        assert same(*(read(folder, tree) for folder in folders)), tree
    a, b = (load(folder) for folder in folders)
    assert torch.equal(a.sample(5, generator=draws()), b.sample(5, generator=draws()))
    assert json.loads((folders[0] / "provenance.json").read_text())["data"]["standardized"]
