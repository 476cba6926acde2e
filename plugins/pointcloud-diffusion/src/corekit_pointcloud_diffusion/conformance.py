"""What the conformance kit builds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from corekit.testing import Conformance

POINTNET = Conformance(
    options=(
        {"latent_dim": 3, "widths": (8, 8), "head": (8,)},
        {"latent_dim": 3, "widths": (8, 8), "head": (8,), "posterior": "point"},
    )
)

POINTWISE = Conformance(
    options=(
        {"hidden": (8, 6)},
        {"hidden": (6,), "residual": False, "time": "beta", "predicts": "v"},
    )
)
VARIANCE_SCHEDULE = Conformance(
    options=({}, {"steps": 20, "beta_end": 0.5}, {"steps": 50, "zero_terminal_snr": True})
)


def _file(folder: Path) -> Mapping[str, Any]:
    """Two categories of clouds, in the layout of PointFlow's successors."""
    path, rng = folder / "shapes.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for category in ("airplane", "chair"):
            for split, size in (("train", 5), ("val", 3), ("test", 2)):
                file[f"{category}/{split}"] = rng.normal(size=(size, 40, 3)).astype("float32")
    return {"path": str(path), "points": 16}


HDF5 = Conformance(
    options=({}, {"resample": False, "scale": "global_unit"}, {"categories": ("chair",)}),
    files=_file,
)
