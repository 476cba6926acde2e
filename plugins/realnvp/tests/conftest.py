"""Where the golden numbers of flows are."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def golden(golden_root):
    """The arrays of one file of golden numbers, as float64 tensors."""

    def load(name):
        with np.load(golden_root / "flows" / f"{name}.npz") as archive:
            return {key: _tensor(archive[key]) for key in archive.files}

    return load


def _tensor(array):
    if array.dtype.kind == "U":
        return array.tolist()
    kept = array.dtype.kind in "iub"
    return torch.from_numpy(np.array(array)) if kept else torch.tensor(array, dtype=torch.float64)
