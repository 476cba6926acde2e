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
_GIVEN = {"points": (4, 3), "mask": (4,)}
SET_TRANSFORMER = Conformance(
    options=(
        {"hidden": 4, "tokens": 2, "width": 4, "depth": 1, "heads": 2, "frequencies": 1},
        {"hidden": 4, "tokens": 2, "width": 4, "depth": 1, "frequencies": 0, "variance": "range"},
    ),
    given=tuple(
        {"event_shape": shape, "condition_shapes": conditions, "out_channels": None}
        for shape, conditions in (((5, 2), {}), ((5, 3), {"vector": (2,), **_GIVEN}))
    ),
)
VARIANCE_SCHEDULE = Conformance(
    options=({}, {"steps": 20, "beta_end": 0.5}, {"steps": 50, "zero_terminal_snr": True})
)
PICTURE = Conformance(
    options=(
        {"latent_dim": 3, "channels": (4, 6), "hidden": 5},
        {"latent_dim": 3, "channels": (), "hidden": 5, "posterior": "gaussian"},
    ),
    given=({"event_shape": (1, 9, 6)},),
)
_CLOUDS = {"type": "shapes3d", "points": 20, "size": 8, "held_out": 4}
PARTIAL = Conformance(options=({"of": _CLOUDS}, {"of": _CLOUDS, "share": 0.4, "least": 0.1}))


def _file(folder: Path) -> Mapping[str, Any]:
    """Two categories of clouds, in the layout of PointFlow's successors."""
    path, rng = folder / "shapes.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for category in ("airplane", "chair"):
            for split, size in (("train", 5), ("val", 3), ("test", 2)):
                file[f"{category}/{split}"] = rng.normal(size=(size, 40, 3)).astype("float32")
    return {"path": str(path), "points": 16}


HDF5 = Conformance(
    options=(
        {},
        {"resample": False, "scale": "global_unit"},
        {"categories": ("chair",), "labels": True},
    ),
    files=_file,
)


def _pictures(folder: Path) -> Mapping[str, Any]:
    """Pictures of the same shapes, in another order."""
    clouds, path, rng = _file(folder), folder / "views.npz", np.random.default_rng(1)
    groups, splits = np.array(["airplane", "chair"]), np.array(["train", "val", "test"])
    sizes = {"train": 5, "val": 3, "test": 2}
    places = [(g, s, row) for g in (1, 0) for s in (2, 0, 1) for row in range(sizes[splits[s]])]
    group, split, row = np.array(places).T
    x = rng.integers(0, 256, (len(places), 2, 6, 6), dtype=np.uint8)
    np.savez(path, x=x, group=group, split=split, row=row, group_names=groups, split_names=splits)
    return {"path": str(path), "of": {"type": "pointcloud.hdf5", **clouds}, "size": 6}


def _meshes(folder: Path) -> Mapping[str, Any]:
    """Two classes of tetrahedra in the layout of ModelNet."""
    for category in ("bed", "desk"):
        for split, size in (("train", 4), ("test", 2)):
            place = folder / category / split
            place.mkdir(parents=True)
            for i in range(size):
                corners = f"0 0 0\n{i + 1} 0 0\n0 1 0\n0 0 1"
                faces = "3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3"
                (place / f"{category}_{i}.off").write_text(f"OFF\n4 4 0\n{corners}\n{faces}\n")
    return {"path": str(folder), "points": 16}


MESHES = Conformance(
    options=({}, {"scale": "global_unit", "seed": 1}, {"labels": True, "held_out": 0.3}),
    files=_meshes,
)
VIEWS = Conformance(files=_pictures)
