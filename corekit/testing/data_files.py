"""How core's data sets of files are tested: tiny files, written into a folder."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from corekit.testing.conformance import Conformance


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _images(folder: Path) -> Mapping[str, Any]:
    """Two classes in folders and in names, two formats, several sizes, one of them grey."""
    for i, pixels in enumerate(_pixels(12, 23, 17, 3)):
        name = ("cats", "dogs")[i % 2]
        (folder / name / "more").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(pixels[: 8 + i] if i % 3 else pixels[:, :, 0])
        image.save(folder / name / "more" / f"{name}_{i}.{('png', 'jpeg')[i % 4 == 1]}")
    return {"path": str(folder), "size": 4}


IMAGE_FOLDER = Conformance(
    options=(
        {},
        {"labels": "folder", "channels": 1},
        {"labels": "prefix", "channels": 4, "value_range": (0, 1), "flip": True, "size": 9},
    ),
    files=_images,
)


def _arrays(folder: Path) -> Mapping[str, Any]:
    """Images, numbers, labels and splits, named in an HDF5 file in chunks."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "arrays.h5", "w") as file:
        file.create_dataset("x", data=_pixels(20, 6, 5, 3), chunks=(3, 6, 5, 3), compression="gzip")
        file["numbers"] = rng.normal(size=(20, 7))
        file["labels"] = rng.integers(0, 4, 20)
        file["which"] = np.arange(20) % 3
    return {"path": str(folder / "arrays.h5")}


ARRAYS = Conformance(
    options=(
        {},
        {"labels": "labels", "value_range": (0, 1), "flip": True},
        {"labels": "labels", "vector": "numbers", "split": "which", "cache_bytes": 0},
        {"array": "numbers", "held_out": 0.3},
    ),
    files=_arrays,
)


def _idx(folder: Path) -> Mapping[str, Any]:
    """Files named like those of MNIST, one of them packed."""
    for name, rows in (("train", 9), ("t10k", 4)):
        header = b"\0\0\x08\x03" + np.array([rows, 5, 6], ">i4").tobytes()
        content = header + _pixels(13, 5, 6)[-rows if name == "t10k" else 0 :][:rows].tobytes()
        path = folder / f"{name}-images-idx3-ubyte"
        if name == "train":
            path.write_bytes(content)
        else:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        labels = b"\0\0\x08\x01" + np.array([rows], ">i4").tobytes() + bytes(range(rows))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    return {"path": str(folder)}


IDX = Conformance(options=({}, {"labels": True, "value_range": (0, 1)}), files=_idx)


def _csv(folder: Path) -> Mapping[str, Any]:
    """Two columns of numbers and one of words."""
    rows = np.random.default_rng(0).normal(size=(12, 2)).round(3)
    lines = [f"{a};{b};{('chair', 'table')[i % 2]}\n" for i, (a, b) in enumerate(rows)]
    (folder / "table.csv").write_text("width;height;kind\n" + "".join(lines))
    return {"path": str(folder / "table.csv")}


CSV = Conformance(options=({}, {"labels": "kind", "columns": ("height",)}), files=_csv)
