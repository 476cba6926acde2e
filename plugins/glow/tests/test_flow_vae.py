"""A latent diffusion model with the layers of Glow as its prior, by its spec alone."""

import json
from pathlib import Path

import numpy as np
import pytest

from corekit.checkpoint import load, read
from corekit.cli.main import main
from corekit.spec import load_spec

EXAMPLES = Path(__file__).parents[2] / "pointcloud-diffusion" / "examples"
PLAIN, GLOW = EXAMPLES / "dpm-gen-paper.yaml", EXAMPLES / "dpm-gen-glow.yaml"
SMALLER = """\
version: 1
extends: {file}
model:
  encoder: {{latent_dim: 6, widths: [16, 32], head: [16]}}
  prior: {{bijector: {{times: 4}}}}
  decoder: {{denoiser: {{hidden: [16, 16]}}, schedule: {{steps: 20, beta_end: 0.4}}}}
  loss: {{kl_weight: 0.01}}
data: {{type: shapes3d, points: 32, size: 60, held_out: 8}}
train: {{steps: 40, batch_size: 20, device: cpu, log_every: 10, evaluate_every: 40, samples: 2}}
metrics: [pointcloud.chamfer]
"""


def test_the_bijector_of_the_prior_is_all_that_is_changed():
    plain, glow = (load_spec(file).spec.model_dump(mode="json") for file in (PLAIN, GLOW))
    bijector, other = (tree["model"]["prior"].pop("bijector") for tree in (plain, glow))
    assert plain == glow
    assert [layer["type"] for layer in bijector["of"]] == ["realnvp.affine_coupling"] * 2
    assert [layer["type"] for layer in other["of"]] == ["actnorm", "lu_linear", "glow.coupling"]
    assert other["times"] == 2 * bijector["times"]


@pytest.mark.slow
def test_it_trains_samples_and_is_evaluated_on_drawn_shapes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(SMALLER.format(file=GLOW))
    assert main(["train", "small.yaml", "--run", "run", "--quiet"]) == 0
    run = tmp_path / "runs" / "run"
    state = read(run / "checkpoints" / "step-0000040", "model")
    started = [value for name, value in state.items() if name.endswith("initialised")]
    assert len(started) == 4
    assert all(started)
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    train = [record["loss"] for record in records if record["split"] == "train"]
    assert train[-1] < 0.9 * train[0]
    assert main(["sample", "runs/run", "--num", "3", "--points", "50", "--out", "made"]) == 0
    made = np.load("made.npy")
    assert made.shape == (3, 50, 3)
    assert np.isfinite(made).all()
    assert main(["evaluate", "runs/run", "--split", "test", "--json"]) == 0
    told = capsys.readouterr().out
    figures = {f["name"]: f["value"] for f in json.loads(told[told.index("{") :])["figures"]}
    assert all(np.isfinite(value) for value in figures.values())
    assert {"test/loss", "test/cross_entropy", "pointcloud.chamfer/chamfer"} <= set(figures)
    prior = load(run).prior
    z = prior.sample(200)
    assert z.std() < 20
