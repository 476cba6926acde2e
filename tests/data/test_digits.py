"""The digits of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from corekit.data.digits import Digits
from corekit.errors import DataError, PluginError
from corekit.spec.data import DigitsSpec


def test_the_splits_are_disjoint_and_all_there_is():
    data = Digits(labels=True, validate_on=True)
    names = [data.split(name).name(i) for name in data.splits for i in range(len(data.split(name)))]
    assert len(set(names)) == 1797
    assert [len(data.split(name)) for name in ("train", "val", "test")] == [1257, 180, 360]
    with pytest.raises(DataError, match="split must be one of train, val, test, got 'all'"):
        data.split("all")
    assert len(Digits().split("val")) == 0


def test_rows_are_those_of_the_package():
    found, split = load_digits(), Digits(labels=True).split("test")
    rng = np.random.default_rng(0)
    for i in (0, 17, 359):
        kind, row = split.name(i).split("/")
        item = split.get(i, rng)
        assert int(item.condition.labels) == int(kind) == found.target[int(row)]
        want = torch.from_numpy(found.images[int(row)] / 16).float()[None]
        assert torch.equal(item.x, want)
    batch = split.get_batch([17, 0])
    assert torch.equal(batch.x[0], split.get(17, rng).x)


@pytest.mark.parametrize("options", [{}, {"labels": True}, {"validate_on": True}])
def test_the_spec_knows_what_the_data_are(options):
    assert DigitsSpec(**options).data_spec() == Digits(**options).data_spec


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn.datasets", None)
    with pytest.raises(PluginError, match="pip install 'corekit\\[digits\\]'"):
        Digits()
