"""Gray values as probabilities of black and white."""

import numpy as np
import pytest
import torch

from corekit.build import build_dataset
from corekit.data.binarized import Binarized
from corekit.data_spec import Support
from corekit.errors import UsageError
from corekit.spec import run_spec

GRAY = {"type": "shapes32", "side": 8, "size": 12, "held_out": 6}


def data(**options):
    spec = {
        "version": 1,
        "model": {"type": "flow", "bijector": "linear"},
        "data": {"type": "binarized", "of": GRAY, **options},
        "train": {"steps": 1, "batch_size": 4},
    }
    return build_dataset(run_spec(spec))


def drawn(split, seed=0):
    rng = np.random.default_rng(seed)
    return torch.stack([split.get(i, rng).x for i in range(len(split))])


def test_training_is_drawn_anew_and_the_rest_once():
    made = data()
    assert not torch.equal(drawn(made.split("train"), 0), drawn(made.split("train"), 1))
    assert torch.equal(drawn(made.split("test"), 0), drawn(made.split("test"), 1))
    assert not torch.equal(drawn(made.split("test")), drawn(data(seed=1).split("test")))
    fixed = data(how="fixed").split("train")
    assert torch.equal(drawn(fixed, 0), drawn(fixed, 1))


def test_the_mean_of_many_draws_is_the_gray_value():
    made = data()
    gray = (made.of.split("train").get(0, np.random.default_rng(0)).x + 1) / 2
    split, rng = made.split("train"), np.random.default_rng(0)
    mean = torch.stack([split.get(0, rng).x for _ in range(2000)]).mean(0)
    assert (mean - gray).abs().max() < 5 * 0.5 / 2000**0.5
    assert set(mean[(gray == 0) | (gray == 1)].tolist()) <= {0.0, 1.0}
    above = data(how="threshold").split("train").get(0, rng).x
    assert torch.equal(above, (gray > 0.5).float())


def test_the_data_have_two_levels_and_others_are_refused():
    spec = data().data_spec
    assert (spec.levels, spec.lowest, spec.bin_width) == (2, 0.0, 1.0)
    assert spec.support is Support.UNIT_INTERVAL
    assert spec.black_and_white == (0.0, 1.0)
    points = build_dataset(
        run_spec(
            {
                "version": 1,
                "model": {"type": "flow", "bijector": "linear"},
                "data": "toy2d",
                "train": {"steps": 1, "batch_size": 4},
            }
        )
    )
    with pytest.raises(UsageError, match="must have levels, or lie on the unit interval"):
        Binarized(of=points)
    with pytest.raises(UsageError, match="how must be 'dynamic', 'fixed' or 'threshold'"):
        Binarized(of=data().of, how="sometimes")
