"""Batches are a function of (seed, step): any number of workers, any start, any number of ranks."""

import os
import subprocess
import sys
import threading
from itertools import islice

import numpy as np
import pytest
import torch

from corekit.data.loading import CounterSampler, Loader, fixed_batches
from corekit.data.shapes3d import Shapes3d
from corekit.errors import DataError, UsageError
from corekit.interfaces.dataset import Item, Split
from corekit.interfaces.records import Batch, Condition


def steps(sampler, n):
    return list(islice(sampler, n))


def flat(batches):
    return [key for batch in batches for key in batch]


def test_an_epoch_is_a_permutation_and_the_next_another():
    batches = steps(CounterSampler(12, 4, seed=0), 6)
    first, second = flat(batches[:3]), flat(batches[3:])
    assert sorted(i for _, i in first) == sorted(i for _, i in second) == list(range(12))
    assert [i for _, i in first] != [i for _, i in second]
    assert {e for e, _ in first} == {0}
    assert {e for e, _ in second} == {1}
    assert first != flat(steps(CounterSampler(12, 4, seed=1), 3))


def test_what_does_not_fill_a_batch_is_left_for_another_epoch():
    sampler = CounterSampler(10, 4, seed=0)
    assert sampler.steps_per_epoch == 2
    batches = steps(sampler, 40)
    assert all(len({i for _, i in b}) == 4 for b in batches)
    assert {i for b in batches for _, i in b} == set(range(10))
    assert batches[39][0][0] == 19


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (10, 4), (3, 8), (1, 4), (5, 5)])
def test_any_start_continues_the_same_batches(size, batch_size):
    whole = steps(CounterSampler(size, batch_size, seed=7), 30)
    for start in (1, 2, 5, 17):
        assert steps(CounterSampler(size, batch_size, 7, start), 30 - start) == whole[start:]


def test_a_far_start_costs_nothing():
    assert len(next(iter(CounterSampler(1000, 10, 0, start_step=10**12)))) == 10


@pytest.mark.parametrize(("size", "batch_size"), [(3, 8), (5, 7), (1, 2)])
def test_a_small_set_fills_its_batch_with_further_epochs(size, batch_size):
    batches = steps(CounterSampler(size, batch_size, seed=0), 10)
    assert all(len(set(b)) == batch_size for b in batches)  # no (epoch, index) twice
    counts = np.bincount([i for b in batches for _, i in b], minlength=size)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize(("size", "batch_size"), [(12, 4), (3, 8)])
def test_ranks_share_out_the_batch(size, batch_size):
    whole = steps(CounterSampler(size, batch_size, 0), 7)
    halves = [steps(CounterSampler(size, batch_size, 0, rank=r, world=2), 7) for r in (0, 1)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_impossible_batches_are_refused():
    with pytest.raises(UsageError, match=r"multiple of the 2 processes, got 5"):
        CounterSampler(10, 5, 0, world=2)
    with pytest.raises(UsageError, match="got 0"):
        CounterSampler(10, 0, 0)
    with pytest.raises(DataError, match="got 0"):
        CounterSampler(0, 4, 0)


@pytest.fixture(scope="module")
def split():
    return Shapes3d(points=32, size=10).split("train")


def same(a, b):
    return a.x.equal(b.x) and a.index.equal(b.index)


def test_workers_and_resuming_change_no_bit(split):
    whole = list(islice(Loader(split, 4, seed=3), 7))
    by_two = list(islice(Loader(split, 4, seed=3, workers=2), 7))
    resumed = list(islice(Loader(split, 4, seed=3, start_step=5, workers=2), 2))
    assert all(map(same, whole, by_two))
    assert all(map(same, whole[5:], resumed))
    assert not same(whole[0], whole[1])
    assert whole[0].x.shape == (4, 32, 3)


def test_the_same_shape_is_drawn_anew_in_each_epoch_and_within_a_batch():
    loader = iter(Loader(Shapes3d(points=32, size=2).split("train"), 4, seed=0))
    batch = next(loader)
    assert sorted(batch.index.tolist()) == [0, 0, 1, 1]
    assert len({tuple(x.flatten().tolist()) for x in batch.x}) == 4


@pytest.mark.parametrize("workers", [0, 1])
def test_no_number_is_drawn_from_the_global_generators(split, workers):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    next(iter(Loader(split, 4, seed=0, workers=workers)))
    list(fixed_batches(split, 0, 4))
    assert torch.get_rng_state().equal(torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)


def test_fixed_batches_give_every_row_once_in_order(split):
    batches = list(fixed_batches(split, seed=1, batch_size=4))
    assert [b.index.tolist() for b in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    whole = next(fixed_batches(split, seed=1, batch_size=10))
    assert torch.cat([b.x for b in batches]).equal(whole.x)
    some = next(fixed_batches(split, 1, 10, rows=np.array([7, 2])))
    assert some.x.equal(whole.x[[7, 2]])
    assert not next(fixed_batches(split, seed=2, batch_size=10)).x.equal(whole.x)


class Labelled(Split):
    """Ten numbers with a label each; number 5 is broken."""

    def __len__(self):
        return 10

    def get(self, index, rng):
        if index == 5:
            raise DataError("row 5 is broken")
        return Item(torch.full((2,), float(index)), Condition(labels=torch.tensor(index % 3)))


def test_conditions_are_collated():
    batch = next(fixed_batches(Labelled(), 0, 5))
    assert batch.condition.labels.tolist() == [0, 1, 2, 0, 1]
    assert batch.condition.vector is None
    assert batch.x.shape == (5, 2)


BROKEN = """
from corekit.data.loading import Loader
from corekit.interfaces.dataset import Split

class Broken(Split):
    def __len__(self):
        return 8

    def get(self, index, rng):
        raise ValueError("a bug")

next(iter(Loader(Broken(), 8, seed=0, workers=1)))
"""


def test_a_bug_in_a_worker_ends_the_program():
    done = subprocess.run(
        [sys.executable, "-c", BROKEN], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "ValueError: a bug" in done.stderr


DYING = """
import gc, multiprocessing.synchronize, os, signal, time
import torch
from corekit.data.loading import Loader
from corekit.errors import DataError
from corekit.interfaces.dataset import Item, Split

class Dying(Split):
    def __len__(self):
        return 8
    def get(self, index, rng):
        time.sleep(0.2)
        for it in gc.get_objects():
            if type(it) is multiprocessing.synchronize.Event:
                it._cond.acquire(False)
        os.kill(os.getpid(), signal.SIGKILL)

try:
    next(iter(Loader(Dying(), 2, seed=0, workers=2)))
except DataError as error:
    print(str(error).count("with code -9"))
"""


def test_a_worker_that_dies_with_a_lock_in_hand_holds_up_nobody():
    done = subprocess.run(
        [sys.executable, "-c", DYING], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr


class Dying:
    """A process that has hung up and takes its time to end."""

    def __init__(self, seconds):
        self.sentinel, self._end = os.pipe()
        self.pid, self.exitcode = 7, None
        threading.Timer(seconds, self.end).start()

    def end(self):
        self.exitcode = -9
        os.close(self._end)


def test_a_process_that_hangs_up_is_waited_for():
    class Batches:
        _workers = (Dying(1.5),)

        def __next__(self):
            raise ConnectionResetError("reset by peer")

    with pytest.raises(DataError, match=r"got the end of process 7 with code -9"):
        Loader(Labelled(), 10, seed=0)._next(Batches())


class Together(Split):
    """Squares, which can be read one by one or at once."""

    calls = 0

    def __len__(self):
        return 10

    def get(self, index, rng):
        raise AssertionError("read one by one")

    def get_batch(self, indices):
        self.calls += 1
        x = torch.tensor([[float(i) ** 2] for i in indices])
        return Batch(x, index=torch.tensor(list(indices)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_split_may_read_a_batch_at_once(workers):
    split = Together()
    order = CounterSampler(10, 4, seed=3)
    batches = list(islice(Loader(split, 4, seed=3, workers=workers), 5))
    for step, batch in enumerate(batches):
        rows = [index for _, index in order.batch(step)]
        assert batch.index.tolist() == rows
        assert batch.x.flatten().tolist() == [i**2 for i in rows]
    assert torch.cat([b.x for b in fixed_batches(split, 0, 4)]).flatten()[9] == 81
    assert [b.index.tolist() for b in fixed_batches(split, 0, 2, rows=[7, 2, 5])] == [[7, 2], [5]]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_has_the_same_words_in_a_worker(workers):
    with pytest.raises(DataError, match=r"^row 5 is broken$"):
        list(islice(Loader(Labelled(), 10, seed=0, workers=workers), 1))
