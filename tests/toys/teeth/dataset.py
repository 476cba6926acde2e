"""Data sets with one mistake each."""

from functools import partial

import numpy as np
import torch

from corekit.data_spec import DataSpec, Support
from corekit.errors import DataError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Batch
from teeth import Tooth


class Points(Split):
    def __init__(self, seed, size):
        self.x = np.random.default_rng(seed).normal(size=(size, 2))

    def __len__(self):
        return len(self.x)

    def get(self, index, rng):
        if not 0 <= index < len(self):
            raise IndexError(f"There is no example {index}: the split has {len(self)}.")
        return Item(torch.tensor(self.x[index] + rng.normal(size=2)).float())


class Right(Dataset):
    """Points with noise of their own; every wrong one below changes a line of it."""

    splits = ("train", "test")
    points = Points

    def __init__(self):
        self.data_spec = DataSpec((2,), size=20)

    def split(self, name):
        if name not in self.splits:
            raise DataError(f"Right: split must be one of {self.splits}, got {name!r}.")
        return self.points(self.splits.index(name), 20 if name == "train" else 5)

    def describe(self):
        return {"source": "drawn here"}


class WrongShape(Right):
    def __init__(self):
        self.data_spec = DataSpec((2, 1), size=20)


class WrongDtype(Right):
    def __init__(self):
        self.data_spec = DataSpec((2,), dtype="float64", size=20)


class WrongSupport(Right):
    def __init__(self):
        self.data_spec = DataSpec((2,), support=Support.UNIT_INTERVAL, size=20)


class WrongSize(Right):
    def __init__(self):
        self.data_spec = DataSpec((2,), size=25)


class PromisesAVector(Right):
    def __init__(self):
        self.data_spec = DataSpec((2,), size=20, condition_shapes={"vector": (3,)})


class Leaks(Right):
    def split(self, name):
        return Fixed(0, 20 if super().split(name) and name == "train" else 5)


class Fixed(Points):
    def get(self, index, rng):
        super().get(index, rng)
        return Item(torch.tensor(self.x[index]).float())


class GlobalNoise(Points):
    def get(self, index, rng):
        super().get(index, rng)
        return Item(torch.tensor(self.x[index] + np.random.normal(size=2)).float())


class Counting(Points):
    """Keeps a generator of its own between calls."""

    def __init__(self, seed, size):
        super().__init__(seed, size)
        self.own = np.random.default_rng(seed)

    def get(self, index, rng):
        return super().get(index, self.own)


class Unpicklable(Points):
    def __init__(self, seed, size):
        super().__init__(seed, size)
        self.transform = lambda x: x


class Endless(Points):
    def get(self, index, rng):
        return super().get(index % len(self), rng)


class Same(Points):
    def get(self, index, rng):
        return Item(torch.zeros(2) + 0 * super().get(index, rng).x)


class Sorted(Points):
    """Its batches come in the order of the file."""

    def get(self, index, rng):
        return Item(torch.tensor(self.x[self._row(index)]).float())

    def get_batch(self, indices):
        rows = sorted(self._row(index) for index in indices)
        return Batch(torch.tensor(self.x[rows]).float(), index=torch.tensor(list(indices)))

    def _row(self, index):
        if not 0 <= index < len(self):
            raise IndexError(f"There is no example {index}: the split has {len(self)}.")
        return index


def with_points(points):
    return type(f"Right{points.__name__}", (Right,), {"points": points})


class AnySplit(Right):
    def split(self, name):
        return super().split("train" if name not in self.splits else name)


class ArrayInDescription(Right):
    def describe(self):
        return {"mean": np.zeros(2)}


_bug = partial(Tooth, "dataset")
RIGHT = [Right]
TEETH = [
    _bug("examples have another shape", WrongShape, "examples_are_as_declared"),
    _bug("examples have another dtype", WrongDtype, "examples_are_as_declared"),
    _bug("examples leave their support", WrongSupport, "examples_are_as_declared"),
    _bug("a condition is promised and not given", PromisesAVector, "examples_are_as_declared"),
    _bug("size is not that of the training split", WrongSize, "the_sizes_are_as_declared"),
    _bug("training examples are in the test split", Leaks, "examples_and_splits_differ"),
    _bug("all examples are the same", with_points(Same), "examples_and_splits_differ"),
    _bug(
        "noise from NumPy's global generator",
        with_points(GlobalNoise),
        "the_global_random_state_is_left_alone",
    ),
    _bug(
        "a generator is kept between calls",
        with_points(Counting),
        "an_example_is_a_function_of_index_and_rng",
    ),
    _bug("a batch has another order", with_points(Sorted), "a_batch_is_its_examples"),
    _bug("a split cannot be pickled", with_points(Unpicklable), "a_worker_reads_the_same"),
    _bug(
        "an index beyond the end starts again", with_points(Endless), "what_is_not_there_is_refused"
    ),
    _bug("any name of a split is taken", AnySplit, "what_is_not_there_is_refused"),
    _bug("the description holds an array", ArrayInDescription, "its_description_can_be_recorded"),
]
