"""Where the golden numbers of flows are."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Every test draws the same numbers, alone or with others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def golden():
    """The arrays of one file of golden numbers, as float64 tensors; or skip."""
    folder = os.environ.get("COREKIT_GOLDEN")
    if not folder:
        pytest.skip("COREKIT_GOLDEN is not set: the golden numbers are not here")

    def load(name):
        with np.load(Path(folder) / "flows" / f"{name}.npz") as archive:
            return {key: _tensor(archive[key]) for key in archive.files}

    return load


def _tensor(array):
    if array.dtype.kind == "U":
        return array.tolist()
    kept = array.dtype.kind in "iub"
    return torch.from_numpy(np.array(array)) if kept else torch.tensor(array, dtype=torch.float64)
