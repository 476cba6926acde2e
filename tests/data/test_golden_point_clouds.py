"""Scale modes and order against numbers made by the reference, diffusion-point-cloud."""

import os
import random

import numpy as np
import pytest

from corekit.data.hdf5 import Hdf5PointClouds
from corekit.data.shapenet import SYNSETS

GOLDEN = os.environ.get("COREKIT_GOLDEN")
pytestmark = pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
NAMES = {"02691156": "airplane", "03001627": "chair"}


@pytest.fixture(scope="module")
def golden():
    with np.load(f"{GOLDEN}/pointcloud/data.npz") as file:
        return dict(file)


def make(mode):
    return Hdf5PointClouds(
        f"{GOLDEN}/pointcloud/tiny.hdf5",
        ["airplane", "chair"],
        points=64,
        scale="none" if mode == "None" else mode,
        resample=False,
        stats="all",
    )


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(
    "mode", ["global_unit", "shape_unit", "shape_bbox", "shape_half", "shape_34", "None"]
)
def test_every_mode_and_the_order_are_the_reference_s(golden, mode, split):
    data = make(mode)
    shapes = data.split(split)
    order = data.reference_order(split)
    wanted = {key: golden[f"{split}/{mode}/{key}"] for key in ("pointcloud", "shift", "scale")}
    assert len(order) == len(wanted["scale"]) == len(shapes)
    for place, index in enumerate(order):
        group, row = shapes.name(index).split("/")
        assert (NAMES[group], int(row)) == (
            golden[f"{split}/cate"][place],
            golden[f"{split}/id"][place],
        )
        shift, scale = shapes.shift_and_scale(index)
        x = shapes.get(index, np.random.default_rng(0)).x.numpy()
        np.testing.assert_allclose(shift, wanted["shift"][place], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(scale, wanted["scale"][place], rtol=1e-6)
        np.testing.assert_allclose(x, wanted["pointcloud"][place], rtol=1e-5, atol=1e-6)


def test_the_std_over_all_splits_is_the_reference_s(golden):
    assert make("global_unit").global_std() == pytest.approx(golden["stats/std"].item(), rel=1e-6)


def test_the_category_names_are_the_reference_s(golden):
    pairs = dict(str(line).split("=")[::-1] for line in golden["categories"])
    assert pairs == SYNSETS


@pytest.mark.parametrize("n", [10, 607])
def test_the_shuffle_is_python_s_own(golden, n):
    order = list(range(n))
    random.Random(2020).shuffle(order)
    assert order == golden[f"shuffle2020/{n}"].tolist()
