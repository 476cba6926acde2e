"""What the tests of all packages share: seeds, and where golden numbers are."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Every test draws the same numbers, alone or with others."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture(scope="session")
def golden_root() -> Path:
    """The folder of all golden numbers; or skip."""
    folder = os.environ.get("COREKIT_GOLDEN")
    if not folder:
        pytest.skip("COREKIT_GOLDEN is not set: the golden numbers are not here")
    return Path(folder)
