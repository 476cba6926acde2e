"""`corekit evaluate --by-step`: the variational bound of a diffusion model, term by term."""

import json

import numpy as np
import pytest
import yaml

from corekit.build import build_dataset
from corekit.checkpoint import load
from corekit.cli.main import main
from corekit.data.loading import fixed_batches
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.spec import load_spec
from corekit.train.by_step import bound_by_step
from corekit.train.heldout import nonempty

STEPS = 12
SPEC = {
    "version": 1,
    "model": {
        "type": "diffusion",
        "denoiser": {
            "type": "ddpm.unet",
            "channels": 4,
            "multipliers": [1],
            "blocks": 1,
            "attention": [],
            "heads": 1,
            "classes": 3,
            "variance": "range",
        },
        "schedule": {"type": "ddpm.cosine", "steps": STEPS},
        "loss": {"type": "ddpm.hybrid"},
    },
    "data": {"type": "shapes2d", "side": 8, "size": 60, "held_out": 20, "labels": True},
    "train": {"steps": 2, "batch_size": 8, "device": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps of a small diffusion of shapes."""
    folder = tmp_path_factory.mktemp("by_step")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    where = folder / "run"
    assert main(["train", str(folder / "spec.yaml"), "--run", str(where), "--quiet"]) == 0
    return where


def test_the_terms_add_up_to_the_bound(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "val+test", "--by-step", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    dataset = build_dataset(load_spec(str(run / "spec.yaml")).spec)
    for name in ("val", "test"):
        found = told["by_step"][name]
        assert found["examples"] == len(dataset.split(name))
        assert found["interval95"] > 0
        assert [len(found[key]) for key in ("bits", "x_0_error", "eps_error")] == [STEPS] * 3
        assert found["prior"] + sum(found["bits"]) == pytest.approx(found["bits_per_dim"])
    assert any(f["name"] == "test/log_prob" for f in told["figures"])
    kinds = [f["protocol"]["kind"] for f in told["figures"] if "log_prob" in f["name"]]
    assert kinds == ["bound"] * 2


def test_a_line_tells_where_the_bits_are(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--by-step", "4"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("test: bound"))
    assert "bits per dimension over 4 examples: prior" in line
    parts = line.split("prior ")[1].split(", ")
    assert [part.split()[0] for part in parts[1:]] == ["t=0", "1-9", "10-11"]
    total = float(line.split("bound ")[1].split()[0])
    assert sum(float(part.split()[-1]) for part in parts) == pytest.approx(total, rel=0.01)


def test_a_row_has_its_own_noise_and_condition(run):
    """The terms of the first rows are those of the model for these rows, whoever is beside them."""
    model, dataset = load(run), build_dataset(load_spec(str(run / "spec.yaml")).spec)
    few, more = (bound_by_step(model, dataset, "test", seed=3, num=num) for num in (1, 2))
    examples = nonempty(dataset, "test")
    batch = next(fixed_batches(examples, seed_of(3, "heldout"), 8, [0, 1]))
    found = model.density.bound(batch.x, batch.condition, generator=RowDraws(3, [0, 1]))
    assert found.total[0].item() == pytest.approx(few["bits_per_dim"], rel=1e-5)
    assert found.total.mean().item() == pytest.approx(more["bits_per_dim"], rel=1e-5)
    np.testing.assert_allclose(found.eps_error.mean(0), more["eps_error"], rtol=1e-4)


def test_the_ode_gives_a_likelihood_with_the_error_of_its_solver(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--ode", "3", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    figure = next(f for f in told["figures"] if f["name"] == "test/ode_log_prob")
    about = figure["protocol"]
    assert (figure["unit"], about["kind"]) == ("nats", "bound")  # pixels are dequantised
    assert (about["solver"], about["steps"], about["trace"]) == ("rk4", 3, "hutchinson")
    assert 0 < about["solver_error"] < float("inf")
    assert about["examples"] == told["rows"]


def test_mistakes_are_explained(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--by-step", "-1"]) == 2
    assert "--by-step: must be a number of examples, got -1" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--ode", "0"]) == 2
    assert "--ode: must be at least 1 step, got 0" in capsys.readouterr().err
