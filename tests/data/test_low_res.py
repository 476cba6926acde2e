"""Images with smaller ones beside them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from corekit.build import build_dataset
from corekit.data.loading import fixed_batches
from corekit.data.low_res import LowRes
from corekit.data.shapes2d import Shapes2d
from corekit.data.shapes32 import Shapes32
from corekit.data.toy2d import Toy2d
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.dataset import Dataset
from corekit.spec import run_spec

RNG = np.random.default_rng(0)


def test_the_smaller_image_has_the_means_of_squares():
    data = LowRes(of=Shapes32(side=12, size=4, labels=True), factor=3)
    item = data.split("train").get(1, RNG)
    assert data.data_spec.condition_shapes == {"labels": (), "image": (3, 4, 4)}
    assert item.condition.labels == 1
    for row in range(4):
        for column in range(4):
            square = item.x[:, 3 * row : 3 * row + 3, 3 * column : 3 * column + 3]
            torch.testing.assert_close(item.condition.image[:, row, column], square.mean((1, 2)))
    assert data.split("val").name(2) == "triangle/2"


@pytest.mark.parametrize("archive", [False, True])
def test_a_spec_builds_it_and_batches_have_both(tmp_path, archive):
    of = {"type": "shapes2d", "side": 8, "size": 6, "held_out": 3, "labels": True}
    if archive:
        np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=(20, 2, 6, 4)))
        of = {"type": "arrays", "path": str(tmp_path / "a.npz")}
    spec = run_spec(
        {
            "version": 1,
            "model": {
                "type": "diffusion",
                "denoiser": {"type": "ddpm.unet", "channels": 4, "multipliers": [1], "heads": 1},
                "schedule": {"type": "ddpm.cosine", "steps": 5},
                "loss": "ddpm.mse",
            },
            "data": {"type": "low_res", "of": of},
        }
    )
    data = build_dataset(spec)
    told = spec.data.data_spec()
    assert told is None or told == data.data_spec
    channels, height, width = data.data_spec.event_shape
    (batch, *_) = fixed_batches(data.split("train"), 0, 4)
    assert batch.condition.image.shape == (4, channels, height // 2, width // 2)
    assert (batch.condition.labels is None) == archive
    torch.testing.assert_close(
        batch.condition.image,
        torch.nn.functional.interpolate(batch.x, scale_factor=0.5, mode="area"),
    )
    assert data.describe()["low_res_factor"] == 2


def test_what_cannot_be_made_smaller_is_refused():
    with pytest.raises(ShapeError, match=r"of sides that 3 divides, got .1, 8, 8."):
        LowRes(of=Shapes2d(side=8), factor=3)
    with pytest.raises(ShapeError, match=r"must be images .C, H, W."):
        LowRes(of=Toy2d("moons"))
    with pytest.raises(UsageError, match="factor must be at least 2"):
        LowRes(of=Shapes2d(side=8), factor=1)
    with pytest.raises(UsageError, match="got 2 and the conditions image"):
        LowRes(of=LowRes(of=Shapes2d(side=8)))


def test_data_keep_what_else_is_known_of_them():
    of: Dataset = Shapes32(side=8, size=5)
    made = LowRes(of=of).data_spec
    assert replace(made, condition_shapes={}) == of.data_spec
