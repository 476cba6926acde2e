"""Where the golden numbers of improved-diffusion are."""

import pytest


@pytest.fixture(scope="session")
def golden(golden_root):
    """The folder of golden numbers."""
    return golden_root / "ddpm"
