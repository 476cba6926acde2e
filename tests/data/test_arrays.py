"""Arrays of files: which is the data and which the labels, of which split, in which layout."""

import hashlib
import os

import h5py
import numpy as np
import pytest
import torch
from array_toys import get, numbers, pixels, write

from corekit.data.arrays import Arrays
from corekit.data_spec import Support
from corekit.errors import DataError

# -- which array is what --------------------------------------------------------------------------


def parts(form):
    """Arrays of three splits under the names of a form."""
    splits = {"train": 9, "valid": 3, "test": 2}
    return {form.format(split): numbers(n, seed=n) for split, n in splits.items()}


@pytest.mark.parametrize("form", ["x_{}", "{}_x", "images_{}", "{}"])
def test_splits_are_found_by_their_names(tmp_path, form):
    data = Arrays(write(tmp_path / "a.npz", parts(form)))
    assert data.splits == ("train", "val", "test")
    assert [len(data.split(s)) for s in data.splits] == [9, 3, 2]
    assert np.array_equal(get(data, 1, "val").x, numbers(3, seed=3)[1])
    assert data.data_spec.size == 9


@pytest.mark.parametrize("form", ["x/{}", "{}/x", "{}"])
def test_splits_are_found_in_groups(tmp_path, form):
    arrays = parts(form) | {form.format("train").replace("x", "more") + "s": np.arange(3)}
    data = Arrays(write(tmp_path / "a.h5", arrays))
    assert [len(data.split(s)) for s in data.splits] == [9, 3, 2]


def test_an_array_can_be_named_and_labels_follow_its_splits(tmp_path):
    arrays = parts("faces_{}") | {"hair_train": np.arange(9), "hair_valid": np.arange(3) + 20}
    path = write(tmp_path / "a.npz", arrays)
    with pytest.raises(DataError, match=r"'hair' must have an array for each .* none for test"):
        Arrays(path, array="faces", labels="hair")
    path = write(tmp_path / "b.npz", arrays | {"hair_test": np.arange(2) + 30})
    data = Arrays(path, array="faces", labels="hair")
    assert [get(data, 1, s).condition.labels.item() for s in data.splits] == [1, 21, 31]


def test_a_share_of_one_array_is_held_out(tmp_path):
    x = np.arange(100, dtype=np.float32)[:, None]
    data = Arrays(write(tmp_path / "a.npz", {"x": x}))
    rows = {s: [int(get(data, i, s).x) for i in range(len(data.split(s)))] for s in data.splits}
    assert {s: len(r) for s, r in rows.items()} == {"train": 80, "val": 10, "test": 10}
    assert sorted(row for part in rows.values() for row in part) == list(range(100))
    assert all(r == sorted(r) for r in rows.values())
    assert min(np.ptp(rows["val"]), np.ptp(rows["test"])) > 30  # not one piece of the file
    assert data.split("val").name(0) == str(rows["val"][0])
    again = Arrays(tmp_path / "a.npz")
    assert [int(get(again, i, "val").x) for i in range(10)] == rows["val"]


def test_an_array_can_say_which_split_each_row_is_in(tmp_path):
    x, which = numbers(9), np.array([0, 1, 2, 0, 0, 1, 0, 0, 2])
    path = write(tmp_path / "a.npz", {"x": x, "which": which, "bad": which + 1})
    data = Arrays(path, split="which")
    assert np.array_equal(get(data, 1, "val").x, x[5])
    assert np.array_equal(get(data, 1, "test").x, x[8])
    with pytest.raises(DataError, match=r"bad: must say 0 \(train\).* got int64 \(9,\) with"):
        Arrays(path, split="bad")
    with pytest.raises(DataError, match="split must name an array"):
        Arrays(path, split="none")


def test_labels_and_vectors_become_conditions(tmp_path):
    arrays = {"x": numbers(5), "y": np.arange(5, dtype=np.uint8), "v": numbers(5, 4) > 0}
    data = Arrays(write(tmp_path / "a.npz", arrays), labels="y", vector="v", held_out=0)
    condition = get(data, 3).condition
    assert condition.labels.dtype == torch.int64
    assert np.array_equal(condition.vector, arrays["v"][3].astype(np.float32))
    assert data.data_spec.condition_shapes == {"labels": (), "vector": (4,)}
    with pytest.raises(DataError, match=r"labels must be one whole number per row, got bool"):
        Arrays(tmp_path / "a.npz", labels="v")
    with pytest.raises(DataError, match=r"vector must have shape \(rows, numbers\), got \(5,\)"):
        Arrays(tmp_path / "a.npz", vector="y")


# -- layout and values ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "event"),
    [((8, 6, 3), (3, 8, 6)), ((3, 8, 6), (3, 8, 6)), ((8, 6), (1, 8, 6)), ((8, 6, 1), (1, 8, 6))],
)
def test_8_bit_images_are_told_by_their_channels(tmp_path, stored, event):
    x = pixels(5, *stored)
    data = Arrays(write(tmp_path / "a.npz", {"x": x}), value_range=(0, 1), held_out=0)
    assert data.data_spec.event_shape == event
    want = x[2][None] if len(stored) == 2 else x[2]
    want = want.transpose(2, 0, 1) if stored[-1] in (1, 3) else want
    assert np.array_equal((get(data, 2).x * 255).round(), want)
    assert get(data, 2).x.is_contiguous()


def test_a_layout_that_cannot_be_told_is_asked_for(tmp_path):
    path = write(tmp_path / "a.npz", {"x": pixels(5, 3, 8, 3), "y": pixels(5, 7)})
    with pytest.raises(DataError, match=r"\(3, 8, 3\) must have .* `layout: channels_last`"):
        Arrays(path)
    assert Arrays(path, layout="channels_first").data_spec.event_shape == (3, 8, 3)
    assert Arrays(path, layout="channels_last").data_spec.event_shape == (3, 3, 8)
    assert Arrays(path, layout="as_stored").data_spec.event_shape == (3, 8, 3)
    with pytest.raises(DataError, match=r"2 axes with layout: grey, got \(3, 8, 3\)"):
        Arrays(path, layout="grey")
    assert Arrays(path, array="y").data_spec.event_shape == (7,)


def test_numbers_stay_as_they_are_and_pixels_fill_the_range(tmp_path):
    arrays = {"f": numbers(5), "u": np.array([[0, 255]] * 5, np.uint8), "b": numbers(5) > 0}
    path = write(tmp_path / "a.npz", arrays)
    assert np.array_equal(get(Arrays(path, array="f", held_out=0), 2).x, arrays["f"][2])
    spec = Arrays(path, array="f").data_spec
    assert (spec.levels, spec.bin_width, spec.lowest, spec.support) == (None, None, None, "real")
    assert get(Arrays(path, array="u", held_out=0), 0).x.tolist() == [-1, 1]
    assert Arrays(path, array="u").data_spec.bin_width == pytest.approx(2 / 255)
    raw = Arrays(path, array="u", value_range="as_stored")
    assert get(raw, 0).x.tolist() == [0, 255]
    assert (raw.data_spec.levels, raw.data_spec.bin_width) == (256, 1)
    assert Arrays(path, array="b").data_spec.support is Support.UNIT_INTERVAL
    with pytest.raises(DataError, match=r"value_range must be .* 8-bit integers only, got float32"):
        Arrays(path, array="f", value_range=(0, 1))


def test_images_are_mirrored_and_other_rows_are_not(tmp_path):
    path = write(tmp_path / "a.npz", {"x": pixels(5, 6, 5, 3), "f": numbers(5)})
    plain, flipped = Arrays(path, held_out=0), Arrays(path, held_out=0, flip=True)
    x = get(plain, 1).x
    seen = [get(flipped, 1, seed=seed).x for seed in range(40)]
    assert all(y.equal(x) or y.equal(x.flip(-1)) for y in seen)
    assert 5 < sum(y.equal(x) for y in seen) < 35
    with pytest.raises(DataError, match=r"flip must be left out unless rows are images"):
        Arrays(path, array="f", flip=True)


# -- refusals and records -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "options", "words"),
    [
        ({"a": numbers(), "b": numbers()}, {}, r"(?s)one row per example.*Found: a float32 \(20, "),
        ({"a": numbers()}, {"array": "b"}, r"must hold an array named 'b'\nFound: a float32"),
        ({"x": numbers(20), "y": np.arange(19)}, {"labels": "y"}, r"each of the 20 rows .* got 19"),
        ({"x_train": numbers(9), "train_x": numbers(9)}, {}, "'train' must be one array, got x_tr"),
        ({"x_train": numbers(9, 2), "x_test": numbers(9, 3)}, {}, "rows must have one shape"),
        ({"words": np.array(["a", "b"])}, {}, "Found: no arrays of numbers"),
        ({"x": numbers(0)}, {}, "the training split must have a row"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_there(tmp_path, arrays, options, words):
    with pytest.raises(DataError, match=words):
        Arrays(write(tmp_path / "a.npz", arrays), **options)


def test_a_number_that_is_not_finite_is_named_when_it_is_read(tmp_path):
    x = numbers(5)
    x[3, 1] = np.nan
    data = Arrays(write(tmp_path / "a.npz", {"x": x}), held_out=0)
    get(data, 2)
    with pytest.raises(DataError, match=r"a\.npz: x: row 3 must .* got nan at \[1\]"):
        get(data, 3)


def test_the_run_records_hash_sizes_range_and_licence(tmp_path):
    path = write(tmp_path / "a.h5", {"x": pixels(20, 4, 4)})
    with h5py.File(path, "a") as file:
        file.attrs.update(license="CC BY 4.0", source="here")
    facts = Arrays(path).describe()
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["source"], facts["licence"]) == ("here", "CC BY 4.0")
    assert facts["sizes"] == {"train": 16, "val": 2, "test": 2}
    assert (facts["stored"], facts["levels"], facts["lowest"]) == ("uint8", 256, -1.0)
    assert Arrays(path, licence="mine").describe()["licence"] == "mine"


REAL = os.environ.get("COREKIT_DATA")


@pytest.mark.skipif(not REAL, reason="COREKIT_DATA does not name a folder with real data")
def test_real_files_are_read_as_they_come():
    digits = Arrays(f"{REAL}/mnist_t10k.npz", labels="y")
    assert digits.data_spec.event_shape == (1, 28, 28)
    assert [len(digits.split(s)) for s in digits.splits] == [8000, 1000, 1000]
    pictures = Arrays(f"{REAL}/cifar10_small.npz", labels="y")
    assert pictures.data_spec.event_shape == (3, 32, 32)
    assert [len(pictures.split(s)) for s in pictures.splits] == [1800, 200, 500]
    patches = Arrays(f"{REAL}/bsds300_patches8.npz")
    assert [len(patches.split(s)) for s in patches.splits] == [108000, 12000, 25000]
    views = Arrays(f"{REAL}/ldraw_views64.npz", layout="channels_first", split="split")
    assert views.data_spec.event_shape == (2, 64, 64)
    wheels = Arrays(f"{REAL}/ldraw_pc2048_small.h5", array="ldraw-wheel")
    assert wheels.describe()["licence"] == "CC BY 4.0"
    assert [len(wheels.split(s)) for s in wheels.splits] == [166, 21, 21]
