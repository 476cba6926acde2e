"""HDF5 point clouds: any group names, clear errors, lazy reading."""

import hashlib
import os
import pickle

import h5py
import numpy as np
import pytest
import torch

from corekit.data.hdf5 import Hdf5PointClouds
from corekit.errors import DataError


def write(path, groups, **attributes):
    with h5py.File(path, "w") as file:
        for name, array in groups.items():
            file[name] = array
        file.attrs.update(attributes)
    return path


def clouds(n, points=32, seed=0, dimensions=3):
    return np.random.default_rng(seed).normal(size=(n, points, dimensions)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    groups = {"mugs/train": clouds(5, seed=1), "mugs/test": clouds(2, seed=2)}
    groups |= {"02691156/train": clouds(3, 48, seed=3), "02691156/val": clouds(2, seed=4)}
    return write(tmp_path / "shapes.h5", groups, license="CC0")


def read(dataset, split, index):
    return dataset.split(split).get(index, np.random.default_rng(0)).x


def test_rows_come_by_category_then_row(path):
    data = Hdf5PointClouds(path, ("mugs", "02691156"), points=32, scale="none", resample=False)
    train = data.split("train")
    assert [train.name(i) for i in (0, 4, 5, 7)] == ["mugs/0", "mugs/4", "02691156/0", "02691156/2"]
    assert [train.label(i) for i in (0, 4, 5, 7)] == [0, 0, 1, 1]
    with h5py.File(path) as file:
        assert np.array_equal(read(data, "train", 6), file["02691156/train"][1, :32])
    assert data.data_spec.event_shape == (32, 3)
    assert data.data_spec.size == len(train) == 8


def test_all_categories_and_the_splits_that_are_there(path):
    data = Hdf5PointClouds(path, "all")
    assert data.categories == ("02691156", "mugs")
    assert data.splits == ("train", "val", "test")
    only_mugs = Hdf5PointClouds(path, ["mugs"])
    assert only_mugs.splits == ("train", "test")
    with pytest.raises(DataError, match=r"one of train, test for mugs, got 'val'"):
        only_mugs.split("val")


def test_a_category_has_a_group_an_attribute_or_a_shapenet_name(path):
    with h5py.File(path, "a") as file:
        file["mugs"].attrs["name"] = "cups"
    assert Hdf5PointClouds(path, ["airplane", "cups"]).categories == ("02691156", "mugs")
    with pytest.raises(DataError, match="once each"):
        Hdf5PointClouds(path, ["cups", "mugs"])
    with pytest.raises(
        DataError, match=r"airplane, cups, mugs, got 'aiplane'\. Did you mean 'airp"
    ):
        Hdf5PointClouds(path, ["aiplane"])


def test_resampling_draws_from_all_points_and_false_takes_the_first(path):
    data = Hdf5PointClouds(path, ["mugs"], points=8, scale="none")
    with h5py.File(path) as file:
        stored = file["mugs/train"][0]
    seen = {tuple(p) for s in range(40) for p in read_seeded(data, s).tolist()}
    assert seen == {tuple(p) for p in stored.tolist()}
    fixed = Hdf5PointClouds(path, ["mugs"], points=8, scale="none", resample=False)
    assert np.array_equal(read_seeded(fixed, 1), stored[:8])


def read_seeded(data, seed):
    return data.split("train").get(0, np.random.default_rng(seed)).x


def test_global_std_is_that_of_the_training_split_unless_all_is_asked(path):
    with h5py.File(path) as file:
        train, test = file["mugs/train"][:], file["mugs/test"][:]
    leakless = Hdf5PointClouds(path, ["mugs"], scale="global_unit")
    assert leakless.global_std() == pytest.approx(train.astype(float).std(ddof=1))
    both = np.concatenate([train, test]).astype(float)
    like_reference = Hdf5PointClouds(path, ["mugs"], scale="global_unit", stats="all")
    assert like_reference.global_std() == pytest.approx(both.std(ddof=1))
    _, scale = leakless.split("test").shift_and_scale(0)
    assert scale == pytest.approx(leakless.global_std())


def test_other_dimensions_and_number_types(tmp_path):
    path = write(tmp_path / "flat.h5", {"rings/train": clouds(4, dimensions=2).astype(np.float64)})
    x = read(Hdf5PointClouds(path, points=16, dimensions=2), "train", 0)
    assert (x.shape, x.dtype) == ((16, 2), torch.float32)
    with pytest.raises(
        DataError, match=r"/rings/train must .*\(shapes, points, 3\), got \(4, 32, 2\)"
    ):
        Hdf5PointClouds(path)


def test_nothing_is_read_or_held_open_at_the_start(path, monkeypatch):
    def refuse(*_):
        raise AssertionError("an array was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
    data = Hdf5PointClouds(path)
    split = data.split("train")
    assert data.file._file is None
    assert len(split) == 8


def test_a_missing_file_another_format_and_another_layout(tmp_path):
    with pytest.raises(DataError, match=r"none\.h5: a data file must exist here"):
        Hdf5PointClouds(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("hello")
    with pytest.raises(DataError, match=r"text\.h5 must be an HDF5 file"):
        Hdf5PointClouds(text)
    other = write(tmp_path / "other.h5", {"points": clouds(3), "deep/er/train": clouds(2)})
    with pytest.raises(
        DataError,
        match=r"/<category>/<train\|val\|test>.*Found: /deep/er/train \(2, 32, 3\), /points",
    ):
        Hdf5PointClouds(other)
    empty = write(tmp_path / "empty.h5", {})
    with pytest.raises(DataError, match="Found: no arrays"):
        Hdf5PointClouds(empty)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_shape_that_is_not_finite_is_named_when_it_is_read(tmp_path, bad):
    array = clouds(4)
    array[2, 7, 1] = bad
    path = write(tmp_path / "bad.h5", {"mugs/train": array})
    data = Hdf5PointClouds(path)
    read(data, "train", 1)
    with pytest.raises(DataError, match=rf"/mugs/train row 2 must .* got {bad} at \[7, 1\]"):
        read(data, "train", 2)
    with pytest.raises(DataError, match=r"/mugs/train"):
        Hdf5PointClouds(path, scale="global_unit").split("train")


def test_a_copy_in_another_process_opens_its_own_file(path):
    data = Hdf5PointClouds(path, points=16)
    expected = read(data, "train", 0)
    split = data.split("train")
    assert pickle.loads(pickle.dumps(split)).get(0, np.random.default_rng(0)).x.equal(expected)
    parent = data.file.open()
    pid = os.fork()
    if pid == 0:  # the child
        mine = data.file.open()
        os._exit(0 if mine is not parent and mine["mugs/train"].shape[0] == 5 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert read(data, "train", 0).equal(expected)
    data.close()
    assert not parent
    assert read(data, "train", 0).equal(expected)


def test_the_run_records_where_the_data_came_from(path):
    facts = Hdf5PointClouds(path, ["mugs"]).describe()
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["sizes"] == {"train": 5, "test": 2}
    assert facts["attributes"] == {"license": "CC0"}


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 32, 3)}])
def test_a_file_that_becomes_shorter_is_refused_not_read_as_zeros(tmp_path, options):
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file.create_dataset("mugs/train", data=clouds(200), **options)
    split = Hdf5PointClouds(tmp_path / "cut.h5", points=32).split("train")
    split.get(0, np.random.default_rng(0))
    os.truncate(tmp_path / "cut.h5", 20_000)
    with pytest.raises(DataError, match=r"cut\.h5: /mugs/train row 199 cannot be read"):
        split.get(199, np.random.default_rng(0))


REAL = os.environ.get("COREKIT_DATA")


@pytest.mark.skipif(not REAL, reason="COREKIT_DATA does not name a folder with real data")
def test_real_data_has_names_licence_and_the_right_size():
    data = Hdf5PointClouds(f"{REAL}/ldraw_pc2048_small.h5", ["headwear", "wheel"], points=512)
    assert data.describe()["sizes"] == {"train": 396, "val": 50, "test": 50}
    assert data.attributes["license"] == "CC BY 4.0"
    assert data.split("test").name(29) == "ldraw-wheel/0"
    assert read(data, "val", 49).std() == pytest.approx(1, abs=0.1)
