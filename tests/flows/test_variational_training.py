"""The trainer fits a flow without data, and what it reports is compared with the truth."""

import json

from corekit.cli.main import main
from corekit.flows.targets import TARGETS

SPEC = """\
version: 1
model:
  type: variational_flow
  target: banana
  bijector:
    type: chain
    of: [linear, {type: coupling, net: {type: mlp, hidden: [16]}}]
data: {type: targets2d, density: banana, held_out: 256}
train: {steps: 150, batch_size: 128, device: cpu, log_every: 50, optimizer: {type: adam, lr: 0.01}}
"""


def test_a_run_lowers_the_free_energy_and_evaluates_beside_the_truth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "banana.yaml").write_text(SPEC)
    assert main(["train", "banana.yaml", "--run", "banana", "--quiet"]) == 0
    lines = (tmp_path / "runs" / "banana" / "metrics.jsonl").read_text().splitlines()
    energies = [json.loads(line)["free_energy"] for line in lines if "free_energy" in line]
    assert energies[-1] < energies[0]
    capsys.readouterr()
    assert main(["evaluate", "runs/banana", "--split", "test", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["figures"]}
    log_z = TARGETS["banana"].log_z
    assert -log_z - 0.05 < rows["test/free_energy"]["value"] < -log_z + 0.5
    assert rows["test/free_energy"]["unit"] == "nats"
    # Of exact draws, which it never saw: below the truth, and not far.
    found = rows["test/log_prob"]
    assert 0 < found["references"]["data"] - found["value"] < 0.5
