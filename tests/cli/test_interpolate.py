"""`corekit interpolate`, and what it draws."""

import numpy as np
import pytest
import torch
import yaml

from corekit.cli.main import main
from corekit.data_spec import DataSpec
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two steps of a flow over images of two bits."""
    folder = tmp_path_factory.mktemp("interpolate")
    images = np.random.default_rng(0).integers(256, size=(40, 4, 4), dtype=np.uint8)
    np.savez(folder / "images.npz", x=images)
    spec = {
        "version": 1,
        "model": {
            "type": "flow",
            "dequantize": "realnvp.uniform_dequantize",
            "bijector": {"type": "chain", "of": ["logit", "flatten", "linear"]},
        },
        "data": {"type": "arrays", "path": str(folder / "images.npz"), "bits": 2},
        "train": {"steps": 2, "batch_size": 8, "device": "cpu"},
        "metrics": ["bits_per_dim"],
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    run = folder / "run"
    assert main(["train", str(folder / "spec.yaml"), "--run", str(run), "--quiet"]) == 0
    return run


def test_it_writes_a_picture_and_levels(run, tmp_path, capsys):
    capsys.readouterr()
    out = ["--num", "2", "--between", "4", "--split", "train", "--out", str(tmp_path / "lines")]
    assert main(["interpolate", str(run), *out]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "lines.png")
    made = np.load(tmp_path / "lines.npy")
    assert made.shape == (2, 4, 1, 4, 4)
    level = (made + 1) / (2 / 3)
    assert np.allclose(level, level.round(), atol=1e-5)


def test_the_metric_says_what_the_loss_says(run, capsys):
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "test", "--json"]) == 0
    found = {r["name"]: r for r in yaml.safe_load(capsys.readouterr().out)["figures"]}
    bits, nats = found["bits_per_dim/mean"], found["test/log_prob"]
    assert bits["unit"] == "bits per dimension"
    assert bits["value"] == pytest.approx(-nats["value"] / (16 * np.log(2)), rel=1e-6)
    assert found["test/bits_per_dim"]["value"] == pytest.approx(bits["value"], abs=0.3)


def test_too_few_points_are_refused(run, capsys):
    assert main(["interpolate", str(run), "--between", "1"]) == 2
    assert "--between at least 2, got 5 and 1" in capsys.readouterr().err


def test_a_line_is_straight_in_the_latent_space():
    torch.manual_seed(0)
    model = FlowModel(DataSpec((3,)), bijector=Linear).double()
    torch.nn.init.normal_(model.density.bijector.weight)
    x, y = torch.randn(2, 4, 3, dtype=torch.float64)
    made = model.interpolate(x, y, 5)
    torch.testing.assert_close(made[:, 0], x)
    torch.testing.assert_close(made[:, -1], y)
    z = model.encode(made.flatten(0, 1)).reshape(4, 5, 3)
    torch.testing.assert_close(z[:, 1:] - z[:, :-1], (z[:, 1:2] - z[:, :1]).expand(4, 4, 3))
