"""The commands that make and use runs, as a user types them, in one process."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml

from corekit.cli.main import main

SMALL = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {"type": "pointcloud.pointnet", "latent_dim": 5, "widths": [8], "head": [8]},
        "prior": {
            "type": "flow",
            "bijector": {"type": "realnvp.affine_coupling", "hidden": 8},
        },
        "decoder": {
            "type": "diffusion",
            "denoiser": {"type": "pointcloud.pointwise", "hidden": [8]},
            "schedule": {"type": "ddpm.linear", "steps": 10, "beta_start": 0.01, "beta_end": 0.9},
            "loss": {"type": "ddpm.mse"},
        },
        "loss": {"type": "weighted_elbo", "kl_weight": 1e-3},
    },
    "data": {"type": "shapes3d", "points": 16, "size": 12, "held_out": 4},
    "train": {"steps": 4, "batch_size": 4, "ema": 0.9, "device": "cpu", "log_every": 2},
    "metrics": ["pointcloud.chamfer", {"type": "pointcloud.one_nna", "subsets": 2}],
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory with a spec in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    return tmp_path


@pytest.fixture
def run(here):
    """A trained run."""
    assert main(["train", "small.yaml", "--quiet"]) == 0
    return here / "runs" / "small"


def last_line(capsys):
    return capsys.readouterr().out.strip().splitlines()[-1]


def test_train_writes_the_run_folder(run):
    assert (run / "spec.yaml").is_file()
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records] == [2, 4]
    checkpoint = run / "checkpoints" / "step-0000004"
    names = {p.name for p in checkpoint.iterdir()}
    assert {
        "model.safetensors",
        "ema.safetensors",
        "spec.yaml",
        "provenance.json",
        "SHA256SUMS",
    } <= names
    assert not [n for n in names if n.endswith((".pt", ".bin", ".pkl"))]


def test_a_second_run_gets_a_folder_of_its_own_and_resume_goes_on(run, here, capsys):
    assert main(["train", "small.yaml", "--quiet"]) == 0
    assert (here / "runs" / "small-2").is_dir()
    assert main(["train", "small.yaml", "--resume", "--quiet", "--set", "train.steps=6"]) == 0
    assert "step 6 of 6" in last_line(capsys)


def test_sample_needs_the_run_only_and_is_reproducible(run, capsys):
    (run.parent.parent / "small.yaml").unlink()
    assert main(["sample", str(run), "--num", "3", "--seed", "1"]) == 0
    picture = last_line(capsys)
    assert picture.endswith(".png")
    first = np.load(picture.replace(".png", ".npy"))
    assert first.shape == (3, 16, 3)
    assert json.loads(Path(picture).with_suffix(".json").read_text())["seed"] == 1
    assert main(["sample", str(run), "--num", "2", "--seed", "1", "--out", "again"]) == 0
    np.testing.assert_allclose(np.load("again.npy"), first[:2], rtol=1e-4, atol=1e-5)


def test_sampling_options(run):
    base = ["sample", str(run), "--num", "2", "--out", "x"]
    more = ["--points", "40", "--sampler", "ddim", "--steps", "5", "--temperature", "0.5"]
    assert main([*base, *more, "--truncate", "1.0", "--device", "cpu", "--no-ema"]) == 0
    assert np.load("x.npy").shape == (2, 40, 3)
    assert main([*base, "--steps", "3"]) == 0


def test_reconstruct_writes_pairs(run, capsys):
    assert main(["reconstruct", str(run), "--num", "3", "--points", "20"]) == 0
    picture = last_line(capsys)
    assert np.load(picture.replace(".png", ".npy")).shape == (3, 20, 3)
    assert np.load(picture.replace(".png", "-originals.npy")).shape == (3, 16, 3)


def test_evaluate_prints_figures_with_references_and_no_nats(run, capsys):
    assert main(["evaluate", str(run), "--split", "val+test"]) == 0
    out = capsys.readouterr().out
    assert "No log-likelihood" in out
    assert "pointcloud.one_nna/one_nna" in out
    assert "chance" in out
    assert "ceiling" in out
    assert "floor" in out
    written = json.loads(Path(out.strip().splitlines()[-1]).read_text())
    assert written["rows"] == 8
    units = {f["name"]: f["unit"] for f in written["figures"]}
    assert units["val/kl"] == "nats"
    assert units["test/reconstruction_mse"] == "squared error per coordinate"
    assert not any("log_prob" in name for name in units)


def test_inspect_needs_no_data_and_lists_the_parts(run, capsys):
    assert main(["inspect", str(run), "--tensors"]) == 0
    out = capsys.readouterr().out
    assert "corekit-pointcloud-diffusion" in out
    assert "decoder.denoiser.gate.weight" in out
    assert main(["inspect", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == 4


def test_inspect_says_what_has_changed_since(run, capsys):
    assert main(["inspect", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changes"] == []
    file = run / "checkpoints" / "step-0000004" / "provenance.json"
    facts = json.loads(file.read_text())
    for component in facts["components"]:
        if component["distribution"] == "corekit-realnvp":
            component["version"] = "0.0.3"
        if component["distribution"] == "corekit-ddpm-improved":
            component |= {"distribution": "corekit-lost", "name": f"lost.{component['kind']}"}
    file.write_text(json.dumps(facts))
    assert main(["inspect", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    (warning,) = [line for line in lines if line.startswith("warning: ")]
    assert "made with corekit-realnvp 0.0.3" in warning
    assert "(bijector 'realnvp.affine_coupling')" in warning
    errors = [line for line in lines if line.startswith("error: needs the ")]
    assert len(errors) == 2
    assert all("pip install corekit-lost" in line for line in errors)
    assert main(["inspect", str(run), "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert [change["level"] for change in changes] == ["error", "error", "warning"]


# -- bad input: the words and the exit code -------------------------------------------------


def fails(capsys, code, words, *arguments):
    assert main(list(arguments)) == code
    shown = capsys.readouterr().err
    assert words in shown, shown
    assert "Traceback" not in shown


def test_a_truncated_checkpoint(run, capsys):
    file = run / "checkpoints" / "step-0000004" / "ema.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    fails(capsys, 7, "truncated or damaged", "sample", str(run))


def test_a_truncated_header_is_told_by_inspect(run, capsys):
    file = run / "checkpoints" / "step-0000004" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    fails(capsys, 7, "truncated or damaged", "inspect", str(run))


def test_a_pickle_offered_as_a_checkpoint(here, capsys):
    torch.save({"w": torch.ones(2)}, "model.pt")
    fails(capsys, 7, "pickles, which run code", "sample", "model.pt")


def test_a_run_that_is_not_there(capsys):
    fails(capsys, 7, "no such folder", "sample", "runs/none")


def test_a_checkpoint_of_a_plugin_that_is_not_installed(run, capsys, monkeypatch):
    from corekit.registry import Registry, use_registry

    monkeypatch.setenv("COREKIT_DISABLE", "realnvp")
    with use_registry(Registry.installed()):
        fails(
            capsys,
            4,
            "needs the bijector 'realnvp.affine_coupling' of corekit-realnvp",
            "sample",
            str(run),
        )


def write_clouds(name, **arrays):
    with h5py.File(name, "w") as file:
        for split, array in arrays.items():
            file[f"hat/{split}"] = array


HDF5 = ["--set", "data={type: pointcloud.hdf5, path: x.h5, points: 16}"]


def test_nan_in_the_data(capsys):
    clouds = np.random.default_rng(0).normal(size=(8, 32, 3)).astype(np.float32)
    clouds[5, 3, 1] = np.nan
    write_clouds("x.h5", train=clouds, val=clouds[:2], test=clouds[:2])
    fails(capsys, 5, "hat/train", "train", "small.yaml", "--quiet", *HDF5)


def test_hdf5_with_another_layout(capsys):
    with h5py.File("x.h5", "w") as file:
        file["points"] = np.zeros((4, 32, 3))
    fails(capsys, 5, "x.h5", "train", "small.yaml", "--quiet", *HDF5)


def test_a_data_file_that_is_not_hdf5(capsys):
    Path("x.h5").write_text("hello")
    fails(capsys, 5, "x.h5", "train", "small.yaml", "--quiet", *HDF5)


def test_a_missing_data_file_and_a_missing_spec(capsys):
    fails(capsys, 5, "x.h5", "train", "small.yaml", *HDF5)
    fails(capsys, 2, "nothing.yaml", "train", "nothing.yaml")


def test_nothing_is_left_of_a_run_whose_data_cannot_be_read(here, capsys):
    fails(capsys, 5, "x.h5", "train", "small.yaml", *HDF5)
    assert not (here / "runs").exists()


def test_bad_numbers(run, capsys):
    fails(capsys, 2, "--num: must be at least 1, got 0", "sample", str(run), "--num", "0")
    fails(capsys, 2, "must lie in 1 ... 10, got 11", "sample", str(run), "--steps", "11")
    fails(capsys, 2, "device", "sample", str(run), "--device", "warp")
    fails(capsys, 4, "Did you mean 'ddim'?", "sample", str(run), "--sampler", "dim")
    fails(capsys, 5, "split", "evaluate", str(run), "--split", "tset")


def test_an_importer_says_what_is_wrong(here, capsys):
    np.savez("x.npz", a=np.zeros(2))
    fails(capsys, 7, "must be a checkpoint of", "import", "pointcloud.dpm", "x.npz", "--run", "i")
    arguments = ("import", "pointcloud.dpm", "x.npz", "--run", "i")
    fails(capsys, 2, "--set", *arguments, "--set", "modell=flow")
    fails(capsys, 2, "option=value", *arguments, "--set", "model")
    fails(capsys, 4, "Did you mean", "import", "pointcloud.dmp", "x.npz", "--run", "i")
    assert not (here / "runs").exists()


@pytest.mark.filterwarnings("default")
def test_warnings_are_one_line(here, capsys):
    short = ["--set", "model.decoder.schedule.beta_end=0.02", "--set", "train.steps=1"]
    assert main(["train", "small.yaml", "--quiet", *short]) == 0
    shown = capsys.readouterr().err
    assert shown.startswith("warning: Linear: alphas_cumprod must end near 0")
    assert "density.py" not in shown


@pytest.mark.slow
def test_demo_in_a_few_steps(capsys):
    assert main(["demo", "--steps", "2", "--run", "d"]) == 0
    out = capsys.readouterr().out.strip().splitlines()
    assert out[-1].endswith("samples.png")
    assert any("to another" in line for line in out)
