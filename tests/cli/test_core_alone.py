"""What works with core alone, and that a spec to start from trains."""

import json
from pathlib import Path

import numpy as np
import pytest

from corekit.cli.main import main
from corekit.registry import Registry, use_registry

FLOW = "{version: 1, model: {type: flow, bijector: linear}, data: toy2d}"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def core_alone():
    """No plugin, as after `pip install corekit`."""
    with use_registry(Registry()) as registry:
        yield registry


@pytest.mark.usefixtures("core_alone")
def test_core_alone_trains_samples_and_measures_a_flow(here, capsys):
    Path("flow.yaml").write_text(FLOW)
    assert main(["validate", "flow.yaml"]) == 0
    few = ["--set", "train={steps: 3, device: cpu, sample_every: 3}"]
    assert main(["train", "flow.yaml", "--quiet", *few]) == 0
    run = here / "runs" / "flow"
    assert np.load(run / "samples" / "step-0000003.npy").shape == (2000, 2)
    assert (run / "samples" / "step-0000003.png").is_file()
    capsys.readouterr()
    assert main(["sample", str(run)]) == 0
    picture = Path(capsys.readouterr().out.strip().splitlines()[-1])
    assert picture.is_file()
    assert np.load(picture.with_suffix(".npy")).shape == (2000, 2)
    assert main(["sample", str(run), "--num", "5", "--out", "few"]) == 0
    assert np.load("few.npy").shape == (5, 2)
    capsys.readouterr()
    assert main(["sample", str(run), "--num", "5", "--out", "v1.5"]) == 0
    assert {path.name for path in here.glob("v1*")} == {"v1.5.npy", "v1.5.png", "v1.5.json"}
    assert capsys.readouterr().out.splitlines()[-2:] == ["v1.5.npy", "v1.5.png"]
    assert main(["sample", str(run), "--num", "5", "--out", "plain.png"]) == 0
    assert (here / "plain.npy").is_file()
    assert main(["evaluate", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].startswith("invertibility on 8 examples: round trip ")
    assert main(["evaluate", str(run), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["invertibility"]["smallest_singular_value"] > 0.01
    figures = {f["name"]: f for f in result["figures"]}
    nats = figures["test/log_prob"]
    assert nats["unit"] == "nats"
    assert nats["protocol"]["kind"] == "exact"
    assert nats["value"] < nats["references"]["data"] - 0.1  # a line cannot be two moons


@pytest.mark.usefixtures("core_alone")
def test_the_density_of_the_data_is_left_out_where_it_is_not_known(here, capsys):
    Path("flow.yaml").write_text(FLOW.replace("toy2d", "{type: toy2d, density: spirals}"))
    assert main(["train", "flow.yaml", "--quiet", "--set", "train={steps: 1, device: cpu}"]) == 0
    assert main(["evaluate", "runs/flow"]) == 0
    line = next(n for n in capsys.readouterr().out.splitlines() if n.startswith("test/log_prob"))
    assert "kind=exact" in line
    assert "data" not in line


@pytest.mark.parametrize("model", ["flow", "diffusion", "latent"])
def test_a_spec_to_start_from_trains(here, model):
    assert main(["new-spec", "--model", model, "--out", "start.yaml"]) == 0
    few = ["--set", "train={steps: 1, batch_size: 2, device: cpu}", "--set", "data.size=4"]
    few += ["--set", "data.held_out=2"]
    assert main(["train", "start.yaml", "--quiet", *few]) == 0
    assert (here / "runs" / "start" / "checkpoints" / "step-0000001").is_dir()
