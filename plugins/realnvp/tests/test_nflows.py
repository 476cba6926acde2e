"""Flows of nflows, imported: the same densities, latents and samples to rounding."""

from pathlib import Path

import numpy as np
import pytest
import torch
from corekit_realnvp.nflows import NflowsImporter

from corekit.build import build, component
from corekit.cli.main import main
from corekit.data_spec import DataSpec
from corekit.errors import CheckpointError
from corekit.interfaces.records import Condition
from corekit.spec import run_spec, spec_class

FILE = Path(__file__).parent / "golden" / "nflows.npz"
SPLINE = {"tail_bound": 2.0}
OPTIONS = {
    "maf": {},
    "maf_plain": {},
    "maf_context": {},
    "maf_plain_context": {"activation": "tanh"},
    "nsf": SPLINE,
    "nsf_coupling": SPLINE,
    "nsf_mlp": {**SPLINE, "activation": "tanh"},
    "realnvp": {},
    "nice": {},
    "inverse": {},
    "one_feature": {},
}


def golden(name):
    """(state dict, the numbers of the flow)."""
    with np.load(FILE) as archive:
        arrays = {k.removeprefix(f"{name}/"): archive[k] for k in archive.files if f"{name}/" in k}
    values, state = torch.from_numpy(arrays.pop("values")), {}
    for line in arrays.pop("tensors").tolist():
        key, dtype, shape = line.split(" ")
        sizes = [int(size) for size in shape.split(",") if size]
        part, values = values.split((int(np.prod(sizes)), len(values) - int(np.prod(sizes))))
        state[key] = part.reshape(sizes).to(getattr(torch, dtype))
    assert not len(values)
    return state, {key: torch.from_numpy(value) for key, value in arrays.items()}


@pytest.fixture
def file(tmp_path):
    """Writes a state dict; returns its path."""

    def write(state):
        torch.save(state, tmp_path / "flow.pt")
        return tmp_path / "flow.pt"

    return write


def rebuilt(path, given, dtype, **options):
    imported = NflowsImporter(**options)(path)
    context = {"vector": given["context"].shape[1:]} if "context" in given else {}
    data = DataSpec(tuple(given["x"].shape[1:]), condition_shapes=context)
    model = build(run_spec(imported.spec), data=data).to(dtype)
    own = model.state_dict()
    assert set(imported.state) == set(own)
    for key, value in imported.state.items():
        assert value.dtype == own[key].dtype, key
    model.load_state_dict(dict(imported.state))
    return model.eval(), imported


def passes(model, given, dtype):
    """(log-densities, latents, inverse) of a model at the points of a golden flow."""
    x, u = given["x"].to(dtype), given["u"].to(dtype)
    context = given["context"].to(dtype) if "context" in given else None
    condition = None if context is None else Condition(vector=context)
    flow = model.density.bijector
    with torch.no_grad():
        log_prob = model.log_prob(x, condition).value
        return log_prob, flow(x, context)[0], flow.inverse(u, context)[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_everything_is_as_in_nflows(name, file):
    state, given = golden(name)
    model, imported = rebuilt(file(state), given, torch.float64, **OPTIONS[name])
    found = passes(model, given, torch.float64)
    for value, key in zip(found, ("log_prob", "z", "inverse"), strict=True):
        torch.testing.assert_close(value, given[key], rtol=1e-10, atol=1e-10)
    assert imported.dropped == ()


@pytest.mark.parametrize("name", OPTIONS)
def test_in_single_precision_too(name, file):
    state, given = golden(name)
    single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    model, _ = rebuilt(file(single), given, torch.float32, **OPTIONS[name])
    found = passes(model, given, torch.float32)
    for value, key in zip(found, ("log_prob", "z", "inverse"), strict=True):
        torch.testing.assert_close(value.double(), given[key], rtol=1e-5, atol=1e-5)


def test_an_imported_flow_trains_on_as_any_other(file):
    """Nothing of it is frozen: all weights have gradients."""
    state, given = golden("nsf_coupling")
    model, _ = rebuilt(file(state), given, torch.float64, **SPLINE)
    model.log_prob(given["x"], Condition(vector=given["context"])).value.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_the_command_imports_a_flow_with_its_context(file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    state, given = golden("nsf_coupling")
    single = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    columns = {"x": given["x"].float().numpy(), "given": given["context"].float().numpy()}
    np.savez(tmp_path / "data.npz", **columns)
    sets = ("tail_bound=2.0", "data_path=data.npz", "vector=given")
    options = [word for text in sets for word in ("--set", text)]
    assert main(["import", "realnvp.nflows", str(file(single)), "--run", "a", *options]) == 0
    said = capsys.readouterr().out
    assert "3 transforms of 5 features given 2 numbers of context" in said
    assert "rational-quadratic, of 4 bins, with linear tails from 2.0 on" in said


def test_what_the_notes_tell(file):
    state, _ = golden("maf")
    notes = NflowsImporter(activation="tanh")(file(state)).notes
    assert "networks are taken to have tanh" in notes[1]
    assert any("Batch norm is imported as it evaluates" in note for note in notes)
    assert not any("bins" in note for note in notes)
    assert NflowsImporter()(file({**state, "_distribution._log_z": torch.ones(())})).dropped == (
        "_distribution._log_z",
    )


def test_the_options_are_those_of_the_spec(file):
    state, _ = golden("nsf")
    spec = spec_class("importer", "realnvp.nflows")(
        tail_bound=3, min_bin=0.01, min_slope=0.02, activation="elu", linear_floor=0.5
    )
    found = component("importer", spec)(file(state))
    members = found.spec["model"]["bijector"]["of"]
    spline = members[2]["univariate"]
    assert (spline["bound"], spline["min_bin"], spline["min_slope"]) == (3, 0.01, 0.02)
    assert members[2]["net"]["activation"] == "elu"
    raw = state["_transform._transforms.0._transforms.1.unconstrained_upper_diag"]
    want = torch.log(torch.nn.functional.softplus(raw) + 0.5)
    torch.testing.assert_close(found.state["density.bijector.members.1.log_diagonal"], want)


AR = "_transform._transforms.1.autoregressive_net"
COUPLING = "_transform._transforms.0"
REFUSED = {
    "no flow": ("maf", lambda s: {"weight": torch.zeros(2)}, "must be the state dict of a Flow"),
    "an embedding": (
        "maf",
        lambda s: {**s, "_embedding_net.0.weight": torch.ones(1)},
        "transforms and a base alone, got _embedding_net.0.weight",
    ),
    "another base": (
        "maf",
        lambda s: {**s, "_distribution.mean_": torch.zeros(1, 4)},
        "base must be standard normal, which has no weights, got _distribution.mean_",
    ),
    "a fixed function": (
        "realnvp",
        lambda s: {k: v for k, v in s.items() if "_transforms.1" not in k},
        "_transforms.1: a transform must have tensors, got none",
    ),
    "an unknown transform": (
        "maf",
        lambda s: {**s, "_transform._transforms.6.q_vectors": torch.ones(4, 4)},
        r"_transforms.6: must be a transform that can be imported, got one with q_vectors. Availa",
    ),
    "only an unknown transform": (
        "maf",
        lambda s: {"_transform.q_vectors": torch.ones(4, 4)},
        "must be a transform that can be imported, got one with q_vectors",
    ),
    "no size": (
        "maf",
        lambda s: {"_transform._shift": torch.ones(()), "_transform._scale": torch.ones(())},
        "must say how many features there are",
    ),
    "several scales": (
        "maf",
        lambda s: {**s, "_transform._transforms.6._permutation": torch.arange(2)},
        "must have as many features as the first, 4, got 2",
    ),
    "random masks": (
        "maf",
        lambda s: {**s, f"{AR}.initial_layer.degrees": torch.tensor([1, 1, 2, 2, 3, 3, 1, 1])},
        r"must see 1, 2, 3 ... features in turn, got random masks in initial_layer.degrees",
    ),
    "no blocks": (
        "maf",
        lambda s: {k: v for k, v in s.items() if f"{AR}.blocks" not in k},
        "must have at least one block, got none",
    ),
    "batch norm in a network": (
        "maf",
        lambda s: {**s, f"{AR}.blocks.0.batch_norm_layers.0.weight": torch.ones(8)},
        "linear layers alone, got blocks.0.batch_norm_layers.0.weight",
    ),
    "a cut file": (
        "maf",
        lambda s: {k: v for k, v in s.items() if k != f"{AR}.final_layer.bias"},
        "must have the tensor final_layer.bias, got none",
    ),
    "other contexts": (
        "maf_context",
        lambda s: {k: v for k, v in s.items() if not ("3.auto" in k and "context" in k)},
        "all networks must have the same context, 3 numbers as in the first, got 0",
    ),
    "an unconditional transform": (
        "realnvp",
        lambda s: {**s, f"{COUPLING}.unconditional_transform.unnormalized_pdf": torch.ones(1)},
        "no parameters beside its network, got unconditional_transform.unnormalized_pdf",
    ),
    "convolutions": (
        "realnvp",
        lambda s: {**s, f"{COUPLING}.transform_net.initial_layer.weight": torch.ones(8, 3, 1, 1)},
        "must be a ResidualNet or an MLP",
    ),
    "all moved": (
        "realnvp",
        lambda s: {
            **s,
            f"{COUPLING}.identity_features": torch.zeros(0).long(),
            f"{COUPLING}.transform_features": torch.arange(5),
        },
        "must keep some features and move some, got 0 kept and 5 moved",
    ),
    "splines without tails": (
        "nsf",
        lambda s: {
            **s,
            "_transform._transforms.1.autoregressive_net.final_layer.weight": torch.ones(65, 8),
            "_transform._transforms.1.autoregressive_net.final_layer.bias": torch.ones(65),
        },
        r"spline with linear tails \(3 K - 1\), got 13 parameters per feature",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_imported_is_refused(name, file):
    flow, change, words = REFUSED[name]
    with pytest.raises(CheckpointError, match=words):
        NflowsImporter()(file(change(golden(flow)[0])))
