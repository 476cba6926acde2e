"""Clouds in the files of other programs."""

import h5py
import numpy as np
import pytest
import torch

from corekit.data.cloud_files import save_hdf5, save_ply
from corekit.errors import UsageError


def clouds(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_ply_file_holds_the_points(tmp_path):
    x = clouds(2, 5, 3)
    folder = save_ply(x, tmp_path / "made")
    assert sorted(file.name for file in folder.iterdir()) == ["0000.ply", "0001.ply"]
    head, rows = (folder / "0001.ply").read_bytes().split(b"end_header\n")
    assert head.split(b"\n")[:3] == [
        b"ply",
        b"format binary_little_endian 1.0",
        b"element vertex 5",
    ]
    assert np.array_equal(np.frombuffer(rows, "<f4").reshape(5, 3), x[1].numpy())


def test_an_hdf5_file_is_read_again(tmp_path):
    x = clouds(2, 5, 2).double()
    with h5py.File(save_hdf5(x, tmp_path / "new" / "made.h5")) as file:
        assert file["samples/test"].dtype == np.float32
        assert np.array_equal(file["samples/test"], x.float().numpy())


@pytest.mark.parametrize(("save", "shape"), [(save_ply, (2, 5, 2)), (save_hdf5, (2, 3, 4, 4))])
def test_what_is_no_cloud_is_refused(save, shape, tmp_path):
    with pytest.raises(UsageError, match="samples must be clouds"):
        save(clouds(*shape), tmp_path / "made")
