"""The promises of a Dataset: the same examples in any process, described as they are."""

from __future__ import annotations

import json
import pickle
import random

import numpy as np
import torch

from corekit.data_spec import DataSpec, Support
from corekit.errors import CorekitError
from corekit.interfaces.dataset import Item, Split
from corekit.interfaces.records import Condition
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_equal
from corekit.testing.refusal import expect_refused

SUITE = Suite()
LOOKED_AT = 16
"""Examples of a split that are looked at."""


def _items(split: Split, seed: int = 0) -> list[Item]:
    some = range(min(LOOKED_AT, len(split)))
    return [split.get(i, np.random.default_rng([seed, i])) for i in some]


@SUITE.check()
def examples_are_as_declared(case: Case) -> None:
    """Every example has the shape, dtype, support and conditions of ``data_spec``."""
    dataset = case.part
    data: DataSpec = dataset.data_spec
    for name in dataset.splits:
        for item in _items(dataset.split(name)):
            x, who = item.x, f"an example of '{name}'"
            shape = tuple(data.event_shape)
            expect(tuple(x.shape) == shape, f"{who} must have shape {shape}, got {tuple(x.shape)}.")
            expect(
                x.dtype is getattr(torch, data.dtype),
                f"{who} must be {data.dtype}, as data_spec says, got {x.dtype}.",
            )
            expect(bool(x.isfinite().all()), f"{who} must be finite.")
            expect(_lies_on(x, data), f"{who} must lie on '{data.support.value}'.")
            for field, want in data.condition_shapes.items():
                value = getattr(item.condition, field, None)
                got = None if value is None else tuple(value.shape)
                expect(got == tuple(want), f"{field} of {who} must have shape {want}, got {got}.")


@SUITE.check()
def the_sizes_are_as_declared(case: Case) -> None:
    """There is a split "train", no split is empty, and ``size`` is the number of its examples."""
    dataset = case.part
    expect("train" in dataset.splits, f"there must be a split 'train', got {dataset.splits}.")
    for name in dataset.splits:
        expect(len(dataset.split(name)) > 0, f"split '{name}' must have an example, got none.")
    size, got = dataset.data_spec.size, len(dataset.split("train"))
    expect(size in (None, got), f"data_spec.size must be {got}, got {size}.")


@SUITE.check(lambda case: case.spec is not None and case.spec.data_spec() is not None)
def the_spec_knows_the_data(case: Case) -> None:
    """What the spec says without opening a file is what the data set says."""
    told = case.spec.data_spec() if case.spec is not None else None
    built = case.part.data_spec
    for field in ("event_shape", "dtype", "support", "condition_shapes"):
        want, got = getattr(built, field), getattr(told, field)
        expect(got == want, f"{field} of the spec's data_spec must be {want}, got {got}.")


@SUITE.check()
def an_example_is_a_function_of_index_and_rng(case: Case) -> None:
    """Read twice, in another order, or by a second copy, an example is the same."""
    first, second = case.fresh(), case.fresh()
    for name in first.splits:
        split, other = first.split(name), second.split(name)
        want = _items(split)
        for i in reversed(range(len(want))):
            for which in (split, other):
                item = which.get(i, np.random.default_rng([0, i]))
                expect_equal(
                    f"example {i} of '{name}' must be the same again, but it differs",
                    item.x,
                    want[i].x,
                    "All randomness comes from rng; keep no state between calls.",
                )


@SUITE.check()
def the_global_random_state_is_left_alone(case: Case) -> None:
    """Neither Python's, NumPy's nor torch's global generator moves."""
    dataset = case.fresh()
    before = _global_states()
    _items(dataset.split("train"))
    for who, state in _global_states().items():
        same = state == before[who]
        expect(same, f"the state of {who} must be left alone, but it moved. Draw from rng.")


def _global_states() -> dict[str, str]:
    numpy_state = repr(np.random.get_state(legacy=False))
    torch_state = str(torch.get_rng_state().tolist())
    return {"random": str(random.getstate()), "numpy.random": numpy_state, "torch": torch_state}


@SUITE.check()
def a_worker_reads_the_same(case: Case) -> None:
    """A split can be pickled, before and after its first read, and reads the same then."""
    split = case.fresh().split("train")
    unread = pickle.loads(pickle.dumps(split))
    want = _items(split)
    read = pickle.loads(pickle.dumps(split))
    for other in (unread, read):
        for i, item in enumerate(_items(other)):
            expect_equal(f"example {i} of a pickled split must be the same", item.x, want[i].x)


@SUITE.check(lambda case: case.part.split("train").get_batch([0]) is not None)
def a_batch_is_its_examples(case: Case) -> None:
    """Where ``get_batch`` reads many at once, they are those that ``get`` reads, in their order."""
    split = case.fresh().split("train")
    items = _items(split)
    rows = list(reversed(range(len(items))))
    batch = split.get_batch(rows)
    expect(batch is not None and batch.rows == rows, "index of a batch must be the rows asked for.")
    for place, row in enumerate(rows):
        expect_equal(f"row {row} in a batch must be example {row}", batch.x[place], items[row].x)
        for name, value in (items[row].condition or Condition())._asdict().items():
            got = getattr(batch.condition, name, None)
            there = (got is None) == (value is None)
            expect(there, f"'{name}' of a batch must be there if and only if examples have it.")
            if value is not None and got is not None:
                expect_equal(f"'{name}' of row {row} in a batch differs", got[place], value)


@SUITE.check()
def examples_and_splits_differ(case: Case) -> None:
    """Two examples differ, and no example of another split is one of the training split."""
    dataset = case.part
    train = [item.x for item in _items(dataset.split("train"))]
    expect(
        len(train) < 2 or not all(torch.equal(x, train[0]) for x in train),
        "the examples must differ, got the same one again and again.",
    )
    for name in dataset.splits:
        if name == "train":
            continue
        shared = sum(any(torch.equal(i.x, x) for x in train) for i in _items(dataset.split(name)))
        expect(
            not shared or dataset.data_spec.support is Support.CODES,
            f"'{name}' must hold other examples than 'train', got {shared} that are in both.",
        )


@SUITE.check()
def what_is_not_there_is_refused(case: Case) -> None:
    """An unknown split, and an index beyond the end, are refused."""
    dataset = case.part
    expect_refused("an unknown split", lambda: dataset.split("no_such_split"), CorekitError)
    split, rng = dataset.split("train"), np.random.default_rng(0)
    try:
        split.get(len(split), rng)
    except (IndexError, CorekitError):
        return
    expect(False, f"index {len(split)} of {len(split)} examples must be refused with IndexError.")


@SUITE.check()
def its_description_can_be_recorded(case: Case) -> None:
    """``describe`` is plain data, and examples have names: a run writes both down."""
    dataset = case.part
    try:
        json.dumps(dict(dataset.describe()))
    except TypeError as error:
        expect(False, f"describe() must be plain data that JSON can hold: {error}.")
    name = dataset.split("train").name(0)
    expect(isinstance(name, str) and bool(name), f"name(0) must be a text, got {name!r}.")


def _lies_on(x: torch.Tensor, data: DataSpec) -> bool:
    if data.support is Support.UNIT_INTERVAL:
        return bool(((x >= 0) & (x <= 1)).all())
    if data.support is Support.POSITIVE:
        return bool((x >= 0).all())
    if data.support is Support.SPHERE:
        return abs(x.double().norm().item() - 1) < 1e-4
    if data.support is Support.CODES:
        return bool((x >= 0).all()) and (data.levels is None or bool((x < data.levels).all()))
    return True
