"""Files of the idx format, packed or not."""

import gzip
import os

import numpy as np
import pytest

from corekit.data.idx import Idx, open_idx
from corekit.errors import DataError


def pack(array):
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    header = bytes([0, 0, codes[array.dtype.name], array.ndim])
    sizes = np.array(array.shape, ">i4").tobytes()
    return header + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def images(rows, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (rows, 5, 4), np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name, rows, packed in (("train", 12, True), ("t10k", 5, False)):
        for kind, array in (("images-idx3", images(rows)), ("labels-idx1", np.arange(rows))):
            content = pack(array.astype(np.uint8))
            path = tmp_path / f"{name}-{kind}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
            else:
                path.write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("packed", [False, True])
def test_all_types_are_read(tmp_path, dtype, packed):
    array = (np.random.default_rng(0).normal(size=(6, 3)) * 30).astype(dtype)
    content = pack(array)
    path = tmp_path / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(content) if packed else content)
    rows = open_idx(path)
    assert rows.shape == (6, 3)
    assert np.array_equal(rows.row(4), array[4])
    assert np.array_equal(rows.array(), array)


def test_the_files_of_a_folder_are_its_splits(folder):
    data = Idx(folder, labels=True, value_range=(0, 1))
    assert {s: len(data.split(s)) for s in data.splits} == {"train": 11, "val": 1, "test": 5}
    assert data.data_spec.event_shape == (1, 5, 4)
    item = data.split("test").get(3, np.random.default_rng(0))
    assert np.array_equal((item.x * 255).round(), images(5)[None, 3])
    assert item.condition.labels.item() == 3
    assert data.describe()["files"] == 4
    assert Idx(folder).split("train").get(0, np.random.default_rng(0)).condition is None
    assert Idx(folder).describe()["files"] == 2


def test_one_file_is_split_by_a_share(folder):
    data = Idx(folder / "train-images-idx3-ubyte.gz", labels=True)
    assert [len(data.split(s)) for s in data.splits] == [10, 1, 1]


def test_what_is_no_idx_file_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"(?s)train-images-idx3.*Found: no file named \*images\*"):
        Idx(tmp_path / "empty")
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte: its labels must lie beside it"):
        Idx(folder, labels=True)
    content = (folder / "t10k-images-idx3-ubyte").read_bytes()
    for bad, words in (
        (b"PNG" + content, r"first bytes must be 0, 0, a type .* got b'PNG"),
        (content[:9], "ends within its header"),
        (content[:-1], "must hold 5 rows, but it ends before the last"),
    ):
        (folder / "t10k-images-idx3-ubyte").write_bytes(bad)
        with pytest.raises(DataError, match=words):
            Idx(folder)
    packed = (folder / "train-images-idx3-ubyte.gz").read_bytes()
    (folder / "t10k-images-idx3-ubyte").write_bytes(content)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(packed[:-30])
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        Idx(folder).split("train")


REAL = os.environ.get("COREKIT_DATA")


@pytest.mark.skipif(not REAL, reason="COREKIT_DATA does not name a folder with real data")
def test_real_digits_equal_those_of_another_file():
    digits = Idx(REAL, labels=True, held_out=0, value_range=(0, 1)).split("train")
    with np.load(f"{REAL}/mnist_t10k.npz") as file:
        for i in (0, 7, 9999):
            item = digits.get(i, np.random.default_rng(0))
            assert np.array_equal((item.x[0] * 255).round(), file["x"][i])
            assert item.condition.labels.item() == file["y"][i]
