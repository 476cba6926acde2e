"""Flows of zuko, imported: the same densities to rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from corekit_realnvp.zuko import ZukoImporter
from safetensors.torch import save_file

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import CheckpointError
from corekit.spec import run_spec

FILE = Path(__file__).parent / "golden" / "zuko.npz"
FLOWS = ["maf", "maf_random", "nsf", "nsf_coupling", "realnvp"]


def golden(name):
    with np.load(FILE) as archive:
        found = {k: torch.from_numpy(archive[k]) for k in archive.files if k.startswith(f"{name}/")}
    state = {k.removeprefix(f"{name}/state/"): v for k, v in found.items() if "/state/" in k}
    return state, found[f"{name}/x"], found[f"{name}/log_prob"]


def rebuilt(path):
    imported = ZukoImporter()(path)
    features = imported.state["density.bijector.members.0.net.layers.0.weight"]
    model = build(run_spec(imported.spec), data=DataSpec((golden_features(path),)))
    assert features.dtype is torch.float64
    model = model.double()
    own = model.state_dict()
    assert set(imported.state) <= set(own)
    missing = {k for k in own if k not in imported.state}
    assert not missing, missing
    model.load_state_dict(dict(imported.state))
    return model, imported


def golden_features(path):
    return len(torch.load(path)["base.loc"])


@pytest.mark.parametrize("name", FLOWS)
def test_densities_and_samples_are_those_of_zuko(name, tmp_path):
    state, x, want = golden(name)
    path = tmp_path / "flow.pt"
    torch.save(state, path)
    model, imported = rebuilt(path)
    torch.testing.assert_close(model.log_prob(x).value, want, rtol=1e-10, atol=1e-10)
    assert imported.dropped == ()
    z = model.encode(x)
    torch.testing.assert_close(model.decode(z), x, rtol=1e-7, atol=1e-7)


def test_other_formats(tmp_path):
    state, _, _ = golden("maf")
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "a.safetensors")
    np.savez(tmp_path / "a.npz", **{k: v.numpy() for k, v in state.items()})
    torch.save({"state_dict": state}, tmp_path / "a.pt")
    found = [ZukoImporter()(tmp_path / f"a.{end}") for end in ("safetensors", "npz", "pt")]
    for other in found[1:]:
        assert other.spec == found[0].spec
        assert all(torch.equal(v, other.state[k]) for k, v in found[0].state.items())


def refused(tmp_path, state, words):
    torch.save(state, tmp_path / "bad.pt")
    with pytest.raises(CheckpointError, match=words):
        ZukoImporter()(tmp_path / "bad.pt")


def test_what_cannot_be_imported_is_refused(tmp_path):
    state, _, _ = golden("maf")
    refused(tmp_path, {"weight": torch.zeros(2)}, "must be the state dict of a zuko flow")
    refused(
        tmp_path, {**state, "base.scale": torch.full((4,), 2.0)}, "base must be standard normal"
    )
    without = {k: v for k, v in state.items() if not k.endswith("0.order")}
    refused(tmp_path, without, "must have an order")
    coupling, _, _ = golden("realnvp")
    mask = torch.tensor([1, 1, 1, 0, 0]).bool()
    refused(tmp_path, {**coupling, "transform.transforms.0.mask": mask}, "a checkered mask")
    refused(tmp_path, torch.zeros(3), "must hold a state dict of tensors, got a Tensor")
    refused(tmp_path, {"flow": torch.nn.Linear(1, 1)}, "must be a state dict in a")
    with pytest.raises(CheckpointError, match="got none of that name"):
        ZukoImporter()(tmp_path / "absent.pt")


def test_a_flow_with_a_context_is_refused(tmp_path):
    state, _, _ = golden("maf")
    wider = torch.cat((state["transform.transforms.0.hyper.0.weight"], torch.ones(8, 2)), dim=1)
    mask = torch.cat((state["transform.transforms.0.hyper.0.mask"], torch.ones(8, 2).bool()), dim=1)
    state = {
        **state,
        "transform.transforms.0.hyper.0.weight": wider,
        "transform.transforms.0.hyper.0.mask": mask,
    }
    refused(tmp_path, state, "must have no context .* got 2 context features")
