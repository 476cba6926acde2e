"""Where the golden numbers are, and the reference's model rebuilt from them."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from corekit_pointcloud_diffusion.importer import DpmImporter

from corekit.build import build
from corekit.checkpoint.load import restore
from corekit.spec import run_spec


@pytest.fixture(scope="session")
def golden(golden_root) -> Path:
    """The folder of the golden numbers."""
    return golden_root / "pointcloud"


def _load_reference(path: Path, kind: str, points: int):
    imported = DpmImporter(model=kind, reference_constant=True)(path)
    tree = dict(imported.spec)
    tree["data"] = {**tree["data"], "points": points}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the reference's schedule is short of noise
        model = build(run_spec(tree))
    restore(model, dict(imported.state), path)
    return model


@pytest.fixture(scope="session")
def io(golden):
    """Inputs and outputs of the small models."""
    with np.load(golden / "small_io.npz") as archive:
        return dict(archive)


@pytest.fixture(params=["flow", "gaussian", "autoencoder"])
def kind(request) -> str:
    """Which of the three models."""
    return request.param


@pytest.fixture
def load_reference():
    """(path, kind, points) -> the model of a state dict of the reference, through the importer."""
    return _load_reference
