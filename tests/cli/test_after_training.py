"""What a trained flow is used for: attributes, temperatures, other data. As a user types it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from corekit.checkpoint import load
from corekit.cli.main import main
from corekit.cli.manipulate import _weights
from corekit.data.arrays import Arrays
from corekit.errors import UsageError
from corekit.train.directions import load_directions

SPEC = {
    "version": 1,
    "model": {
        "type": "flow",
        "dequantize": "realnvp.uniform_dequantize",
        "bijector": {"type": "chain", "of": ["logit", "flatten", "actnorm", "lu_linear"]},
    },
    "data": {"type": "shapes2d", "side": 8, "size": 300, "held_out": 60, "labels": True},
    "train": {"steps": 100, "batch_size": 32, "device": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A hundred steps of a small flow over shapes."""
    folder = tmp_path_factory.mktemp("after")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    where = folder / "run"
    assert main(["train", str(folder / "spec.yaml"), "--run", str(where), "--quiet"]) == 0
    return where


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


KINDS = ["--names", "ellipse,rectangle,triangle"]


def fails(capsys, code, words, *command):
    capsys.readouterr()
    assert main([*command]) == code
    assert words in capsys.readouterr().err


def told_by(name):
    return json.loads(Path(f"{name}.json").read_text())


def test_a_kind_of_shape_is_changed(run, capsys):
    capsys.readouterr()
    walk = ["--attribute", "triangle", "--alpha", "-1", "0", "1", "2", "--num", "3"]
    keep = ["--save", "kinds.safetensors", "--score", "test", "--out", "walk"]
    assert main(["manipulate", str(run), *KINDS, *walk, *keep]) == 0
    first, last = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("triangle: 100 of 300 examples of 'train', length ")
    assert "held out: examples 60, auc 0." in first
    assert last == "walk.png"
    made = np.load("walk.npy")
    assert made.shape == (3, 4, 1, 8, 8)
    assert set(np.unique(made)) <= {0.0, 1.0}
    told = told_by("walk")
    assert [e["row"] for e in told["examples"]] == [0, 30, 59]
    assert told["examples"][0]["name"] == "ellipse/0"
    assert set(told["examples"][0]["projection"]) == {"triangle", "together"}
    assert told["weights"] == {"triangle": 1.0}
    assert 0.5 < told["scores"]["triangle"]["auc"] <= 1
    # a strength of 0 gives back what was there
    assert main(["reconstruct", str(run), "--num", "3", "--split", "val", "--out", "same"]) == 0
    np.testing.assert_array_equal(made[:, 1], np.load("same.npy"))


def test_directions_are_used_again(run, capsys):
    both = [
        "--attribute",
        "triangle=2",
        "--attribute",
        "ellipse=-1",
        "--rows",
        "5,1",
        "--seed",
        "3",
    ]
    assert main(["manipulate", str(run), *KINDS, "--save", "kinds.safetensors"]) == 0
    assert main(["manipulate", str(run), *KINDS, *both, "--out", "fresh"]) == 0
    again = ["--directions", "kinds.safetensors", "--out", "again"]
    assert main(["manipulate", str(run), *both, *again]) == 0
    np.testing.assert_array_equal(np.load("fresh.npy"), np.load("again.npy"))
    fresh, old = map(told_by, ("fresh", "again"))
    assert [e["row"] for e in old["examples"]] == [5, 1]
    assert fresh["alphas"] == [-1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5]
    assert fresh["directions"] == old["directions"]
    moved = [*both, *again, "--absolute"]
    assert main(["manipulate", str(run), *moved]) == 0
    assert not np.array_equal(np.load("fresh.npy"), np.load("again.npy"))


def test_several_splits_are_scored_together_and_only_what_is_asked_is_told(run, capsys):
    assert main(["manipulate", str(run), *KINDS, "--save", "kinds.safetensors"]) == 0
    capsys.readouterr()
    again = ["--directions", "kinds.safetensors", "--attribute", "ellipse", "--out", "one"]
    assert main(["manipulate", str(run), *KINDS, *again, "--score", "val+test"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:-1]] == ["ellipse"]
    assert "held out: examples 120, auc" in lines[0]


def test_an_array_of_another_file_names_what_to_change(run, here, capsys):
    area = np.random.default_rng(0).normal(size=300)
    np.savez("more.npz", area_train=area, area_test=area[:60])
    capsys.readouterr()
    given = ["--attributes", "more.npz:area", "--score", "test"]
    assert main(["manipulate", str(run), *given]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("area: by the values of 300 examples of 'train', length ")
    assert "spearman " in line
    assert "auc of sign " in line
    assert list(here.glob("*")) == [here / "more.npz"]  # no walk was asked for


def test_directions_are_found_on_data_that_are_not_mirrored(tmp_path):
    """A bright left half: of mirrored pictures half would be bright on the right."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (80, 4, 4), dtype=np.uint8)
    left = rng.random(80) < 0.5
    images[left, :, :2] += 150
    images[~left, :, 2:] += 150
    np.savez("sides.npz", x=images, left=left)
    data = {"type": "arrays", "path": "sides.npz", "array": "x", "flip": True}
    spec = SPEC | {"data": data, "train": {"steps": 2, "batch_size": 8, "device": "cpu"}}
    bijector = {"type": "chain", "of": ["logit", "flatten", "actnorm"]}
    spec["model"] = SPEC["model"] | {"bijector": bijector}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    assert main(["train", "spec.yaml", "--run", "run", "--quiet"]) == 0
    command = ["manipulate", "runs/run", "--attributes", "left", "--save", "d"]
    assert main(command) == 0
    examples = Arrays("sides.npz", array="x").split("train")
    x = torch.from_numpy(examples.examples(range(len(examples))))
    z, has = load("runs/run").encode(x).double(), torch.from_numpy(left[examples.table.rows])
    want = z[has].mean(0) - z[~has].mean(0)
    assert want.norm() > 1
    torch.testing.assert_close(load_directions(Path("d"), 16).vectors["left"], want)


def test_wrong_commands_are_refused(run, capsys):
    base = ["manipulate", str(run), *KINDS]
    fails(capsys, 2, "an --attribute to change must be named, got none", *base)
    fails(capsys, 2, "Did you mean 'triangle'?", *base, "--attribute", "triangel")
    fails(capsys, 2, "each name once, got 'ellipse=x'", *base, "--attribute", "ellipse=x")
    fails(capsys, 2, "must be at least 1, got 0", *base, "--attribute", "ellipse", "--num", "0")
    fails(capsys, 2, "must be whole numbers", *base, "--attribute", "ellipse", "--rows", "a")
    fails(
        capsys,
        2,
        "must lie in 0 ... 59 of 'val', got 60",
        *base,
        "--attribute",
        "ellipse",
        "--rows",
        "60",
    )
    fails(capsys, 2, "strengths must be finite", *base, "--attribute", "ellipse", "--alpha", "nan")
    fails(
        capsys, 2, "must not be given with --directions", *base, "--save", "a", "--directions", "b"
    )
    fails(capsys, 7, "must be a file of directions", *base, "--attribute", "a", "--directions", "b")
    fails(capsys, 2, "3 different names", "manipulate", str(run), "--names", "a,b", "--save", "c")
    np.savez("same.npz", same_train=np.ones(300, bool))
    same = ["manipulate", str(run), "--attributes", "same.npz:same", "--attribute", "same"]
    fails(capsys, 5, "got 300 of 300 with it", *same)


def test_a_weight_may_follow_a_name_that_has_an_equals_sign():
    assert _weights(["a=b=2", "c"]) == {"a=b": 2.0, "c": 1.0}
    for word in ("a=inf", "a="):
        with pytest.raises(UsageError, match=f"got '{word}'"):
            _weights([word])
    with pytest.raises(UsageError, match="each name once, got 'a=2'"):
        _weights(["a", "a=2"])


def test_each_temperature_has_a_row_of_the_same_noise(run, capsys):
    capsys.readouterr()
    grid = ["--temperature", "0,0.7,1", "--num", "4", "--seed", "2"]
    assert main(["sample", str(run), *grid, "--out", "grid"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 samples at each of 3 temperatures with seed 2 from ")
    assert lines[1:] == ["grid.npy", "grid.png"]
    made = np.load("grid.npy")
    assert made.shape == (3, 4, 1, 8, 8)
    assert told_by("grid")["temperatures"] == [0.0, 0.7, 1.0]
    for row, temperature in enumerate((0, 0.7, 1)):
        alone = ["--temperature", str(temperature), "--num", "4", "--seed", "2", "--out", "row"]
        assert main(["sample", str(run), *alone]) == 0
        np.testing.assert_array_equal(made[row], np.load("row.npy"))
    assert np.all(made[0] == made[0, :1])  # nothing is drawn at temperature 0
    assert not np.array_equal(made[2, 0], made[2, 1])
    with Image.open("grid.png") as picture:
        assert picture.size == (4 * (128 + 4) + 4, 3 * (128 + 22) + 4)  # three rows of four
    assert main(["sample", str(run), "--temperature", "0,1", "--out", "eight"]) == 0
    assert np.load("eight.npy").shape[:2] == (2, 8)


@pytest.mark.parametrize("word", ["warm", "1,", "-1", "0.5,0.5", "nan", "inf", ""])
def test_wrong_temperatures_are_refused(run, capsys, word):
    fails(capsys, 2, f"got '{word}'", "sample", str(run), f"--temperature={word}")


def test_other_data_are_told_from_held_out_ones(run, here, capsys):
    data = {"type": "arrays", "path": "far.npz", "bits": 1, "value_range": [0, 1]}
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    np.savez("far.npz", x=noise)
    (here / "far.yaml").write_text(yaml.safe_dump(SPEC | {"data": data}))
    capsys.readouterr()
    other = ["--ood", "far.yaml", "--ood-batch", "2", "--background", str(run)]
    assert main(["evaluate", str(run), *other, "--json"]) == 0
    figures = {f["name"]: f for f in json.loads(capsys.readouterr().out)["figures"]}
    found = {name: f for name, f in figures.items() if name.startswith("ood/")}
    assert {name.removeprefix("ood/"): f["unit"] for name, f in found.items()} == dict.fromkeys(
        ("likelihood", "typicality", "complexity", "likelihood_ratio"), "AUC"
    )
    assert found["ood/likelihood"]["value"] > 0.9  # noise is nothing like a shape
    assert found["ood/likelihood"]["protocol"] == {"held_out": 60, "other": 20, "data": "far.yaml"}
    assert found["ood/likelihood_ratio"]["value"] == 0.5  # of a model and itself
    assert found["ood/typicality"]["protocol"]["batch"] == 2
    assert main(["evaluate", str(run), "--ood", str(run)]) == 0
    text = capsys.readouterr().out
    assert "ood/complexity" in text
    assert "chance 0.5" in text


def test_wrong_other_data_are_refused(run, capsys):
    base = ["evaluate", str(run)]
    fails(capsys, 2, "(shapes2d) are no file, got 'far.npz'", *base, "--ood", "far.npz")
    fails(
        capsys, 2, "--ood-batch: must be at least 1, got 0", *base, "--ood", "a", "--ood-batch", "0"
    )
    fails(capsys, 2, "must be given with --ood", *base, "--background", str(run))
