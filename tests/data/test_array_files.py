"""Files of arrays: every row as it was written, read lazily and within a bound."""

import os
import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from array_toys import FORMS, get, numbers, pixels, write

from corekit.data.array_files import open_arrays
from corekit.data.arrays import Arrays
from corekit.data.loading import Loader, collate
from corekit.errors import DataError

# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", ">f8", "uint8", "int16", "bool"])
def test_every_file_gives_the_rows_that_were_written(tmp_path, form, dtype):
    name, options, kind = FORMS[form]
    x = (numbers(11, 2, 5) * 3).astype(dtype)
    path = write(tmp_path / name, {"x": x, "y": np.arange(11)}, **options)
    rows = open_arrays(path)["x"]
    assert type(rows) is kind
    assert (rows.shape, rows.dtype, len(rows)) == (x.shape, x.dtype, 11)
    for i in (3, 0, 10, 3):
        assert np.array_equal(rows.row(i), x[i])
    assert np.array_equal(rows.array(), x)
    for cache_bytes in (0, 2**20):
        same_rows(path, x, cache_bytes)


def same_rows(path, x, cache_bytes):
    options = {"layout": "as_stored", "value_range": "as_stored", "cache_bytes": cache_bytes}
    data = Arrays(path, **options, labels="y", held_out=0)
    item = get(data, 7)
    assert np.array_equal(item.x, x[7].astype(np.float32))
    assert item.condition.labels.item() == 7
    assert item.x.dtype == torch.float32


def test_a_fortran_ordered_array_is_read(tmp_path):
    x = np.asfortranarray(numbers(6, 4))
    np.save(tmp_path / "x.npy", x)
    assert np.array_equal(get(Arrays(tmp_path / "x.npy", held_out=0), 4).x, x[4])


@pytest.mark.parametrize("form", FORMS)
def test_a_split_reads_on_in_another_process(tmp_path, form):
    name, options, _ = FORMS[form]
    path = write(tmp_path / name, {"x": numbers(30), "y": np.arange(30)}, **options)
    split = Arrays(path, labels="y").split("train")
    want = split.get(5, np.random.default_rng(0)).x
    assert pickle.loads(pickle.dumps(split)).get(5, np.random.default_rng(0)).x.equal(want)
    large = Arrays(path, labels="y", cache_bytes=0).split("train")
    batches = [
        list(islice(Loader(s, 4, seed=1, workers=w), 9)) for w, s in ((0, split), (2, large))
    ]
    for a, b in zip(*batches, strict=True):
        assert a.x.equal(b.x)
        assert a.condition.labels.equal(b.condition.labels)


def test_a_forked_process_does_not_move_the_position_of_its_parent(tmp_path):
    np.save(tmp_path / "x.npy", numbers(50))
    rows = open_arrays(tmp_path / "x.npy")["x"]
    rows.row(0)
    mine = rows._file
    pid = os.fork()
    if pid == 0:
        rows.row(1)
        os._exit(0 if rows._file is not mine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_chunks_are_kept_within_the_bound(tmp_path):
    x = pixels(64, 100)
    path = write(tmp_path / "a.h5", {"x": x}, chunks=(4, 100), compression="gzip")
    rows = open_arrays(path, cache_bytes=1000)["x"]  # two chunks of 400 bytes
    order = np.random.default_rng(0).permutation(64)
    for i in order:
        assert np.array_equal(rows.row(i), x[i])
        assert rows._cached == sum(chunk.nbytes for chunk in rows._cache.values()) <= 1000
    rows, reads = open_arrays(path, cache_bytes=1000)["x"], []
    read = rows._read
    rows._read = lambda start, stop: reads.append(start) or read(start, stop)
    for i in (0, 1, 5, 2, 20, 3, 4):
        rows.row(i)
    assert reads == [0, 4, 20, 4]  # 20 puts out 4, which was not used for the longest time
    none = open_arrays(path, cache_bytes=0)["x"]
    assert np.array_equal(none.row(9), x[9])
    assert none._cached == 0


@pytest.mark.slow
def test_a_long_array_is_not_read_into_memory(tmp_path):
    path = tmp_path / "x.npy"
    np.lib.format.open_memmap(path, "w+", "float32", (40_000_000, 25))  # 4 GB, on disk none
    row = get(Arrays(path, held_out=0), 39_999_999).x
    assert row.equal(torch.zeros(25))


def test_a_file_that_becomes_shorter_is_an_error_with_words(tmp_path):
    for name, options in (("a.npz", {}), ("a.h5", {}), ("b.h5", {"chunks": (2, 100)})):
        path = write(tmp_path / name, {"x": numbers(40, 100)}, **options)
        split = Arrays(path, held_out=0, cache_bytes=0).split("train")
        split.get(39, np.random.default_rng(0))
        os.truncate(path, 4000)
        with pytest.raises(DataError, match=rf"{name}: x.*(truncated|row 30 cannot be read)"):
            split.get(30, np.random.default_rng(0))


@pytest.mark.parametrize("cache_bytes", [0, 2**20])
def test_many_rows_at_once_are_those_read_one_by_one(tmp_path, cache_bytes):
    arrays = {"x": pixels(20, 6, 5, 3), "y": np.arange(20), "v": numbers(20), "f": numbers(20)}
    path = write(tmp_path / "a.h5", arrays, chunks=True)
    data = Arrays(path, labels="y", vector="v", cache_bytes=cache_bytes)
    split, rows = data.split("train"), [3, 0, 15, 3]
    batch = split.get_batch(rows)
    one_by_one = collate([(split.get(i, np.random.default_rng(0)), i) for i in rows])
    assert batch.x.equal(one_by_one.x)
    assert batch.x.is_contiguous()
    assert batch.condition.labels.equal(one_by_one.condition.labels)
    assert batch.condition.vector.equal(one_by_one.condition.vector)
    assert batch.index.equal(one_by_one.index)
    assert Arrays(path, flip=True).split("train").get_batch(rows) is None
    with pytest.raises(IndexError, match="16 does not exist"):
        split.get_batch([16])


@pytest.mark.parametrize("workers", [0, 1])
def test_the_row_that_is_not_finite_is_named_in_a_batch(tmp_path, workers):
    x = numbers(8)
    x[5, 1] = np.inf
    split = Arrays(write(tmp_path / "a.npz", {"x": x}), held_out=0).split("train")
    with pytest.raises(DataError, match=r"^[^\n]*a\.npz: x: row 5 must .* got inf at \[1\]"):
        list(islice(Loader(split, 8, seed=0, workers=workers), 1))


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    for name in ("a.npz", "a.npy", "a.h5"):
        (tmp_path / name).write_bytes(b"no array in here")
        with pytest.raises(DataError, match=rf"{name}"):
            Arrays(tmp_path / name)
    (tmp_path / "a.mat").write_bytes(b"")
    with pytest.raises(DataError, match=r"must end in \.npz, \.npy, \.h5 or \.hdf5, got '\.mat'"):
        Arrays(tmp_path / "a.mat")
    with pytest.raises(DataError, match="must exist here, found none"):
        Arrays(tmp_path / "none.npz")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="no arrays of numbers"):
        Arrays(tmp_path / "objects.npy")
    np.save(tmp_path / "cut.npy", numbers(50))
    os.truncate(tmp_path / "cut.npy", 300)
    with pytest.raises(DataError, match=r"must have 50 rows, but the file ends before the last"):
        Arrays(tmp_path / "cut.npy")
