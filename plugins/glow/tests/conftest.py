"""Where the golden numbers of Glow are."""

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
    """The arrays of one file of golden numbers, as tensors; or skip."""
    folder = os.environ.get("COREKIT_GOLDEN")
    if not folder:
        pytest.skip("COREKIT_GOLDEN is not set: the golden numbers are not here")

    def load(name):
        with np.load(Path(folder) / "glow" / f"{name}.npz") as archive:
            return {
                key: torch.from_numpy(np.array(archive[key]))
                for key in archive.files
                if archive[key].dtype.kind != "U"
            }

    return load
