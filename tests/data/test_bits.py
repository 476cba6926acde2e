"""Images of fewer bits than eight."""

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.data.arrays import Arrays
from corekit.data.image_folder import ImageFolder
from corekit.data.pixels import level_values
from corekit.errors import DataError, UsageError
from corekit.spec.data_files import ImageFolderSpec


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0)])
def test_levels_fill_the_range(bits, low, high):
    values = level_values((low, high), bits)
    levels, counts = np.unique(values, return_counts=True)
    assert len(levels) == 2**bits
    assert set(counts) == {256 // 2**bits}
    assert (levels[0], levels[-1]) == (low, high)
    assert (values[1:] >= values[:-1]).all()


def test_an_array_of_two_bits_lies_on_the_levels_that_it_declares(tmp_path):
    x = np.random.default_rng(0).integers(256, size=(20, 5, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x=x)
    data = Arrays(tmp_path / "x.npz", bits=2)
    spec, split = data.data_spec, data.split("train")
    assert (spec.levels, spec.lowest, spec.bin_width) == (4, -1.0, 2 / 3)
    item = split.get(0, np.random.default_rng(0)).x
    level = (item - spec.lowest) / spec.bin_width
    stored = torch.from_numpy(split.raw(0).transpose(2, 0, 1) // 64)
    torch.testing.assert_close(level, stored.float(), rtol=0, atol=1e-6)


def test_a_folder_of_one_bit(tmp_path):
    for i in range(12):
        Image.new("RGB", (4, 4), (20 * i, 0, 255)).save(tmp_path / f"{i}.png")
    data = ImageFolder(tmp_path, size=4, bits=1, value_range=(0.0, 1.0))
    assert data.data_spec.levels == 2
    x = torch.stack([data.split("train").get(i, np.random.default_rng(0)).x for i in range(8)])
    assert set(x.unique().tolist()) == {0.0, 1.0}
    declared = ImageFolderSpec(path=".", size=4, bits=1, value_range=(0.0, 1.0)).data_spec()
    assert (declared.levels, declared.bin_width) == (2, 1.0)


def test_bits_of_other_numbers_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 3)))
    with pytest.raises(DataError, match="bits must be left out unless 8-bit integers"):
        Arrays(tmp_path / "x.npz", bits=2)
    with pytest.raises(UsageError, match="bits: must be 1 to 8, got 9"):
        level_values((0, 1), 9)
