"""Where the golden numbers of Glow are."""

import numpy as np
import pytest
import torch


@pytest.fixture(scope="session")
def golden(golden_root):
    """The arrays of one file of golden numbers, as tensors."""

    def load(name):
        with np.load(golden_root / "glow" / f"{name}.npz") as archive:
            return {
                key: torch.from_numpy(np.array(archive[key]))
                for key in archive.files
                if archive[key].dtype.kind != "U"
            }

    return load
