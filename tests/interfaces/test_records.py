"""Conditions and batches."""

import torch

from corekit.interfaces.records import Batch, Condition


def test_dropping_a_condition_clears_those_rows_only():
    condition = Condition(
        vector=torch.ones(3, 2),
        labels=torch.tensor([4, 5, 6]),
        image=torch.ones(3, 1, 2, 2),
        points=torch.ones(3, 4, 3),
        mask=torch.ones(3, 4, dtype=torch.bool),
    )
    dropped = condition.drop(torch.tensor([False, True, False]))
    assert dropped.labels.tolist() == [4, -1, 6]
    assert dropped.vector.sum(1).tolist() == [2.0, 0.0, 2.0]
    assert dropped.image.sum((1, 2, 3)).tolist() == [4.0, 0.0, 4.0]
    assert dropped.mask.sum(1).tolist() == [4, 0, 4]
    assert dropped.mask.dtype == torch.bool
    assert condition.labels.tolist() == [4, 5, 6]


def test_what_is_absent_stays_absent():
    assert Condition(vector=torch.ones(1, 1)).drop(torch.tensor([True])).labels is None


def test_a_batch_splits_with_its_condition_and_rows():
    batch = Batch(torch.arange(5.0)[:, None], Condition(labels=torch.arange(5)), torch.arange(5))
    parts = batch.split(2)
    assert [len(p.x) for p in parts] == [3, 2]
    assert parts[1].condition.labels.tolist() == parts[1].index.tolist() == [3, 4]
    assert parts[1].condition.vector is None
    assert Batch(torch.zeros(2, 1)).split(2)[1].condition is None
