"""Where attributes come from, and that each row belongs to its example."""

import numpy as np
import pytest

from corekit.data.arrays import Arrays
from corekit.data.shapes2d import KINDS, Shapes2d
from corekit.errors import DataError, UsageError
from corekit.train.attributes import attributes_of

N = 30


@pytest.fixture
def faces(tmp_path):
    """Row i of the data is i everywhere, so that attributes tell which row they are of."""
    rows = np.arange(N)
    np.savez(
        tmp_path / "faces.npz",
        x=np.repeat(rows[:, None], 3, 1).astype(np.float32),
        attributes=np.stack([rows % 2 == 0, rows % 3 == 0], 1),
        attribute_names=np.array(["even", "third"]),
        yaw=rows.astype(np.float32),
        signs=np.where(rows % 5 == 0, 1, -1),
        kind=rows % 3,
        head=rows // 3,
        head_split=np.arange(10) % 3,
        cube=np.zeros((N, 2, 2)),
        short=np.zeros(N - 1),
    )
    return tmp_path / "faces.npz"


def in_split(dataset, name):
    split = dataset.split(name)
    return np.array([split.get(i, np.random.default_rng(0)).x[0].item() for i in range(len(split))])


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("options", [{}, {"split": "head_split", "groups": "head"}])
def test_every_row_has_the_attributes_of_its_example(faces, split, options):
    dataset = Arrays(faces, array="x", held_out=0.3, **options)
    rows = in_split(dataset, split)
    got = attributes_of(dataset, split, ["attributes", "yaw", "signs"])
    assert got.names == ("even", "third", "yaw", "signs")
    assert got.binary == (True, True, False, True)
    want = np.stack([rows % 2 == 0, rows % 3 == 0, rows, rows % 5 == 0], 1)
    np.testing.assert_array_equal(got.values, want)


def test_groups_stay_together(faces):
    dataset = Arrays(faces, array="x", split="head_split", groups="head")
    for number, name in enumerate(("train", "val", "test")):
        rows = in_split(dataset, name)
        np.testing.assert_array_equal(rows // 3 % 3, number)
    assert sum(len(dataset.split(name)) for name in dataset.splits) == N


def test_wrong_groups_are_refused(faces):
    for more, words in (
        ({"groups": "head"}, "groups must be left out unless split is given"),
        ({"split": "head_split", "groups": "heads"}, "groups must name an array .* got 'heads'"),
        ({"split": "head_split", "groups": "kind"}, None),
        ({"split": "head_split", "groups": "x"}, r"of 30 rows its group, 0 ... 9, got float32"),
        ({"split": "head_split", "groups": "signs"}, r"of 30 rows its group, 0 ... 9, got int64"),
    ):
        if words is None:
            assert len(Arrays(faces, array="x", **more).split("train")) == 10
            continue
        with pytest.raises(DataError, match=words):
            Arrays(faces, array="x", **more)


def test_another_file_may_have_a_row_for_each_row_of_the_split(faces, tmp_path):
    dataset = Arrays(faces, array="x", split="head_split", groups="head")
    few = len(dataset.split("val"))
    np.savez(tmp_path / "more.npz", hat=np.arange(few) % 2, coat_val=np.arange(few))
    path = f"{tmp_path / 'more.npz'}:hat"
    np.testing.assert_array_equal(
        attributes_of(dataset, "val", [path]).values[:, 0], np.arange(few) % 2
    )


def test_arrays_of_each_split_are_found(tmp_path):
    rows = {"train": 6, "val": 4}
    arrays = {f"x_{k}": np.zeros((n, 2), np.float32) for k, n in rows.items()}
    arrays |= {f"hat_{k}": np.arange(n) for k, n in rows.items()}
    np.savez(tmp_path / "split.npz", **arrays)
    dataset = Arrays(tmp_path / "split.npz", array="x")
    assert attributes_of(dataset, "val", ["hat"]).values[:, 0].tolist() == [0, 1, 2, 3]


def test_classes_are_attributes():
    dataset = Shapes2d(side=8, size=9, held_out=6, labels=True)
    got = attributes_of(dataset, "val", [])
    assert got.names == ("class_0", "class_1", "class_2")
    np.testing.assert_array_equal(got.values.argmax(1), np.arange(6) % len(KINDS))
    assert got.values.sum() == 6
    assert attributes_of(dataset, "val", [], list(KINDS)).names == KINDS


def test_a_condition_vector_has_an_attribute_for_each_number(faces):
    dataset = Arrays(faces, array="x", vector="attributes", held_out=0.3)
    got = attributes_of(dataset, "val", [])
    assert got.names == ("vector_0", "vector_1")
    np.testing.assert_array_equal(got.values[:, 0], in_split(dataset, "val") % 2 == 0)


def test_wrong_sources_are_refused(faces):
    dataset = Arrays(faces, array="x")
    for sources, error, words in (
        ([], UsageError, "no labels and no vector"),
        (["eyes"], DataError, "'eyes'"),
        (["cube"], DataError, r"got \(30, 2, 2\)"),
        (["short"], DataError, r"each of the 30 of the data, .* got \(29,\)"),
        (["yaw", "yaw"], UsageError, "2 different names, .* got yaw, yaw"),
        (["/nowhere.npz:yaw"], DataError, "nowhere.npz"),
    ):
        with pytest.raises(error, match=words):
            attributes_of(dataset, "train", sources)
    with pytest.raises(UsageError, match=r"2 different names, .* got one"):
        attributes_of(dataset, "train", ["attributes"], ["one"])
    with pytest.raises(UsageError, match="where Shapes2d reads no file"):
        attributes_of(Shapes2d(side=8, size=3), "train", ["yaw"])


def test_what_is_no_number_is_refused(faces, tmp_path):
    np.savez(tmp_path / "bad.npz", age=np.full(N, np.nan))
    dataset = Arrays(faces, array="x")
    with pytest.raises(DataError, match="'age' must hold finite numbers"):
        attributes_of(dataset, "train", [f"{tmp_path / 'bad.npz'}:age"])


def test_the_nearest_name_is_told(faces):
    got = attributes_of(Arrays(faces, array="x"), "train", ["attributes"])
    assert got.only(["third"]).values.shape == (24, 1)
    with pytest.raises(
        UsageError, match=r"none named 'evn'. Did you mean 'even'\? Known: even, third"
    ):
        got.only(["evn"])
