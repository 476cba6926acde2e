"""What `corekit data inspect` proposes reads the data; what `convert` writes reads the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from corekit.build import component
from corekit.cli.main import main
from corekit.data.arrays import Arrays
from corekit.data.converting import convert
from corekit.data.image_folder import ImageFolder
from corekit.data.inspecting import look
from corekit.data.rows import FileRows
from corekit.data.toy2d import Toy2d
from corekit.errors import DataError, UsageError
from corekit.spec import spec_class
from corekit.testing.data_files import ARRAYS, CSV, IDX, IMAGE_FOLDER


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def read(data):
    """The data set that a block of YAML names."""
    return component("dataset", spec_class("dataset", data["type"]).model_validate(data))


def examples(dataset, split="train"):
    part = dataset.split(split)
    return [part.get(i, np.random.default_rng(0)) for i in range(len(part))]


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "photos"
    for i in range(12):
        (path / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(9, 8 + i, 3)).save(path / "ab"[i % 2] / f"{i}.png")
    return path


# -- inspect --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (IMAGE_FOLDER, {"type": "image_folder", "size": 9, "labels": "folder"}),
        (ARRAYS, {"type": "arrays", "labels": "labels"}),
        (IDX, {"type": "idx", "labels": True}),
        (CSV, {"type": "csv", "labels": "kind"}),
    ],
)
def test_the_proposed_block_reads_the_data(tmp_path, how, expected):
    path = how.files(tmp_path)["path"]
    found = look(Path(path))
    assert found.data == {"path": path, **expected}
    data = read(found.data)
    item = examples(data)[0]
    assert item.condition.labels.ndim == 0
    facts = data.describe()
    if how is not ARRAYS:  # where other files may be beside those that are read
        assert facts["sha256"] == found.files["sha256"]


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"x": pixels(9, 5, 6, 3), "y": np.arange(9)}, {"labels": "y"}),
        ({"train": pixels(9, 4), "valid": pixels(2, 4)}, {}),
        ({"a": pixels(9, 4), "b": pixels(3, 2)}, {"array": "a"}),
        (
            {"x": pixels(9, 2, 6, 6), "split": np.arange(9) % 3},
            {"split": "split", "layout": "as_stored"},
        ),
        ({"x": pixels(9, 4), "y": pixels(9, 2)}, {}),
        ({"x_train": pixels(9, 4), "y_train": np.arange(9), "x_test": pixels(3, 4)}, {}),
    ],
)
def test_the_right_arrays_are_proposed(tmp_path, arrays, expected):
    np.savez(tmp_path / "a.npz", **arrays)
    found = look(tmp_path / "a.npz")
    assert found.data == {"type": "arrays", "path": str(tmp_path / "a.npz"), **expected}
    assert len(examples(read(found.data))) > 0
    assert [row[0] for row in found.rows] == list(arrays)


def test_point_clouds_are_known(tmp_path):
    with h5py.File(tmp_path / "clouds.h5", "w") as file:
        for split in ("train", "test"):
            file[f"mug/{split}"] = np.random.default_rng(0).normal(size=(3, 20, 3))
    found = look(tmp_path / "clouds.h5")
    assert found.data["type"] == "pointcloud.hdf5"
    assert examples(read(found.data))[0].x.shape == (20, 3)


def test_the_range_of_a_long_array_is_that_of_its_first_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("corekit.data.inspecting._LOOKED_AT", 40)
    np.save(tmp_path / "a.npy", np.arange(100, dtype=np.float32))
    assert look(tmp_path / "a.npy").rows[0][3] == "0 … 9 (first 10 rows)"


def test_what_nothing_reads_is_refused_with_all_layouts(tmp_path):
    (tmp_path / "notes.md").write_text("")
    for path in (tmp_path, tmp_path / "notes.md"):
        with pytest.raises(
            DataError, match=r"(?s)image\.png.*x_train.*idx3-ubyte.*Found: notes\.md"
        ):
            look(path)
    np.savez(tmp_path / "flat.npz", bytes=pixels(99), offsets=np.arange(9))
    with pytest.raises(DataError, match=r"(?s)one row per example.*Found: bytes uint8 \(99,\)"):
        look(tmp_path / "flat.npz")
    with pytest.raises(DataError, match="must exist here, found none"):
        look(tmp_path / "none")


def test_an_image_that_cannot_be_read_is_told(folder):
    (folder / "a" / "zero.png").write_bytes(b"")
    assert any("zero.png cannot be read" in note for note in look(folder).notes)


def test_looking_imports_no_torch(folder):
    code = "import sys; from corekit.cli.main import main; code = main(sys.argv[1:])\n"
    code += "print(code, 'torch' in sys.modules)"
    words = [sys.executable, "-c", code, "data", "inspect", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 False"


# -- convert --------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["a.h5", "a.npz"])
@pytest.mark.parametrize("labels", [None, "folder"])
def test_converted_images_are_the_same_examples(tmp_path, folder, out, labels, monkeypatch):
    monkeypatch.setattr("corekit.data.converting._ROWS", 3)
    original = ImageFolder(folder, size=5, labels=labels, licence="CC0", held_out=0.2)
    copy = Arrays(convert(original, tmp_path / out), labels=labels and "labels")
    assert copy.splits == original.splits
    for split in original.splits:
        for a, b in zip(examples(original, split), examples(copy, split), strict=True):
            assert a.x.equal(b.x)
            assert labels is None or a.condition.labels.equal(b.condition.labels)
    large = Arrays(tmp_path / out, cache_bytes=0)
    assert isinstance(large.split("train").table.x, FileRows)
    assert examples(large)[1].x.equal(examples(copy)[1].x)
    facts = copy.describe()
    assert facts["licence"] == "CC0"
    assert facts["attributes"]["sha256"] == original.describe()["sha256"]
    assert facts["attributes"]["made_from"] == str(folder)


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (ARRAYS, {"type": "arrays", "labels": "labels", "vector": "numbers"}),
        (IDX, {"type": "idx", "labels": True}),
        (CSV, {"type": "csv", "labels": "kind"}),
    ],
)
@pytest.mark.parametrize("out", ["a.h5", "a.npz"])
def test_converted_rows_are_the_same_examples(tmp_path, how, options, out):
    (tmp_path / "in").mkdir()
    original = read({**options, **how.files(tmp_path / "in")})
    vector = "vector" if "vector" in options else None
    copy = Arrays(convert(original, tmp_path / out), labels="labels", vector=vector)
    for split in original.splits:
        for a, b in zip(examples(original, split), examples(copy, split), strict=True):
            assert a.x.equal(b.x)
            assert a.condition.labels.equal(b.condition.labels)
            assert vector is None or a.condition.vector.equal(b.condition.vector)


def test_a_conversion_that_fails_leaves_nothing(tmp_path, folder):
    (folder / "b" / "99.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"99\.png"):
        convert(ImageFolder(folder, size=4, held_out=0), tmp_path / "out" / "a.h5")
    assert os.listdir(tmp_path / "out") == []


def test_what_cannot_be_written_is_refused(tmp_path, folder):
    data = ImageFolder(folder, size=4)
    with pytest.raises(UsageError, match=r"must end in \.h5, \.hdf5 or \.npz, got '\.zip'"):
        convert(data, tmp_path / "a.zip")
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(UsageError, match="there must be no such file, got one"):
        convert(data, tmp_path / "a.h5")
    with pytest.raises(DataError, match=r"must be image_folder, .* or clouds of points, got Toy2d"):
        convert(Toy2d(size=9), tmp_path / "b.h5")


# -- the commands ---------------------------------------------------------------------------------


def test_the_command_prints_a_table_a_hash_and_a_block(folder, capsys):
    assert main(["data", "inspect", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "12 images, 8 x 9 to 19 x 9 pixels" in out
    assert "PNG     RGB   12" in out
    assert f"sha256 {look(folder).files['sha256']}" in out
    block = f"data:\n  type: image_folder\n  path: {folder}\n  size: 8\n  labels: folder\n"
    assert out.endswith(block)
    assert main(["data", "inspect", str(folder), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["data"] == {**look(folder).data}
    assert facts["contents"] == [{"format": "PNG", "mode": "RGB", "images": "12"}]


def test_the_command_converts_and_prints_the_path_last(folder, tmp_path, capsys):
    out = tmp_path / "photos.h5"
    assert main(["data", "convert", str(folder), str(out), "--set", "size=6"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == str(out)
    block = ["data:", "  type: arrays", f"  path: {out}", "  labels: labels"]
    assert printed[-5:-1] == block
    assert examples(Arrays(out))[0].x.shape == (3, 6, 6)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["inspect", "none"], 5, "error: none: a file or folder must exist here"),
        (["convert", "none", "a.h5"], 5, "error: none: a file or folder must exist here"),
        (["convert", "photos", "a.h5", "--set", "sise=3"], 2, "did you mean 'size'?"),
        (["convert", "photos", "a.h5", "--set", "size=0"], 2, "size: "),
        (["convert", "photos", "a.zip"], 2, "must end in .h5"),
        ([], 2, "the following arguments are required: ACTION"),
    ],
)
def test_mistakes_have_words_and_exit_codes(folder, monkeypatch, capsys, words, code, message):
    monkeypatch.chdir(folder.parent)
    assert main(["data", *words]) == code
    assert message in capsys.readouterr().err


REAL = os.environ.get("COREKIT_DATA")


@pytest.mark.skipif(not REAL, reason="COREKIT_DATA does not name a folder with real data")
def test_real_files_are_known():
    expected = {
        "mnist_t10k.npz": {"type": "arrays", "labels": "y"},
        "cifar10_small.npz": {"type": "arrays", "labels": "y"},
        "bsds300_patches8.npz": {"type": "arrays"},
        "uci_tabular.npz": {"type": "arrays", "array": "keggdirected"},
        "ldraw_views64.npz": {"type": "arrays", "split": "split", "layout": "as_stored"},
        "ldraw_pc2048_small.h5": {"type": "pointcloud.hdf5", "points": 2048},
        "t10k-images-idx3-ubyte.gz": {"type": "idx", "labels": True},
    }
    for name, block in expected.items():
        data = look(Path(f"{REAL}/{name}")).data
        assert data == {"path": f"{REAL}/{name}", **block}
        assert len(examples(read(data), "val")) > 0
