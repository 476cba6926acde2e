"""Trees of values survive a checkpoint bit for bit, or are refused."""

import math

import pytest
import torch

from corekit.checkpoint.folder import read, write
from corekit.checkpoint.tree import pack, plain_keys, same, unpack
from corekit.errors import CheckpointError

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, 1e-3, fused=True),
    "adamw amsgrad": lambda p: torch.optim.AdamW(p, 1e-3, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "adafactor": lambda p: torch.optim.Adafactor(p, 1e-2),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_optimizer_states_round_trip(make, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Linear(4, 2)
    optimizer = make(list(net.parameters()))
    for _ in range(3):
        net(torch.randn(3, 4)).square().mean().backward()
        optimizer.step()
    tree = optimizer.state_dict()
    folder = write(tmp_path / "c", {"optimizer": tree}, {})
    assert same(read(folder, "optimizer"), tree)


def test_values_keep_their_type_and_every_bit(tmp_path):
    tree = {
        "float": [0.1, -0.0, 1e-320, math.inf],
        "tuple": (1, (2.5, None), True),
        3: {"nested": "text", "empty": {}},
        "dtypes": [torch.ones(2, dtype=d) for d in (torch.float64, torch.bfloat16, torch.int64)],
        "scalar": torch.tensor(2.0),
        "strided": torch.arange(6.0).reshape(2, 3).t(),
    }
    back = read(write(tmp_path / "c", {"t": tree}, {}), "t")
    assert same(back, tree)
    assert not same(back, tree | {"tuple": [1, (2.5, None), True]})
    assert not same(torch.ones(1), torch.ones(1).double())


def test_tensors_that_share_memory_are_kept_apart():
    x = torch.ones(3)
    tensors, skeleton = pack({"a": x, "b": x})
    back = unpack(tensors, skeleton)
    back["a"].zero_()
    assert back["b"].sum() == 3


@pytest.mark.parametrize("value", [object(), {1, 2}, {(1, 2): 3}, b"bytes"])
def test_what_only_a_pickle_could_save_is_refused(value):
    with pytest.raises(CheckpointError, match="got"):
        pack({"x": value})


def test_prefixes_of_wrappers_are_removed():
    keys = plain_keys({"module.a._orig_mod.b": torch.ones(1), "c": torch.ones(1)})
    assert list(keys) == ["a.b", "c"]
