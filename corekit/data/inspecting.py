"""What is in a file or folder, and which data set reads it; without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from corekit.data import csv_file, idx_file, image_names, mesh_names
from corekit.data.array_files import HDF5_SUFFIXES, file_names, open_arrays
from corekit.data.array_layout import EXPECTED, find_arrays, form_of
from corekit.data.fingerprint import fingerprint
from corekit.data.folders import list_files
from corekit.data.rows import Rows
from corekit.data.splitting import SPLITS
from corekit.errors import DataError

_LOOKED_AT = 64 * 2**20  # bytes of an array whose range is told
_IMAGES = 100  # images that are opened
_LABELS = ("labels", "label", "y", "targets", "target", "classes")
_ARRAYS = (".npz", ".npy", *HDF5_SUFFIXES)
_TEXTS = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")

LAYOUTS = f"""\
one of these:
a folder of {image_names.LAYOUT}
a folder of {mesh_names.LAYOUT}
a file .npz, .npy or .h5, or a folder of .npy files, with {EXPECTED}
a folder or a file of {idx_file.LAYOUT}
{csv_file.LAYOUT}"""


@dataclass(frozen=True)
class Finding:
    """What was found.

    Args:
        what: In a few words.
        header, rows: A table of the contents.
        data: The section ``data`` of a spec that reads it.
        files: Number, size and hash.
        notes: What else should be known.
    """

    what: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    data: Mapping[str, Any]
    files: Mapping[str, object]
    notes: Sequence[str] = field(default_factory=tuple)


def look(path: Path) -> Finding:
    """Look at a file or folder.

    Raises: DataError if nothing is there that a data set of core reads, with what would be read.
    """
    if not path.exists():
        raise DataError(f"{path}: a file or folder must exist here, found none.")
    name = path.name.lower()
    if path.is_dir():
        if any(path.glob("*-images*ubyte*")):
            return _look_at_idx(path)
        if any(path.glob("*.npy")):
            return _look_at_arrays(path)
        if list_files(path, mesh_names.SUFFIXES):  # before images: meshes may have textures
            return _look_at_meshes(path)
        if image_names.list_images(path):
            return _look_at_images(path)
    elif name.endswith(_ARRAYS):
        return _look_at_arrays(path)
    elif "ubyte" in name or name.removesuffix(".gz").endswith((".idx", ".idx1", ".idx3")):
        return _look_at_idx(path)
    elif name.endswith(_TEXTS):
        return _look_at_text(path)
    there = sorted(p.name for p in path.iterdir())[:8] if path.is_dir() else [path.name]
    raise DataError(f"{path}: must be {LAYOUTS}\nFound: {', '.join(there) or 'nothing'}.")


def _look_at_arrays(path: Path) -> Finding:
    arrays = open_arrays(path)
    notes: list[str] = []
    data: dict[str, Any] = {"type": "arrays", "path": str(path)}
    clouds = _is_clouds(arrays) and path.suffix in HDF5_SUFFIXES
    if clouds:
        points = min(rows.shape[1] for rows in arrays.values())
        data |= {"type": "pointcloud.hdf5", "points": points}
        notes.append("pointcloud.hdf5 is in the package corekit-pointcloud-diffusion.")
    elif arrays:
        data |= _array_options(arrays, str(path), notes)
    else:
        raise DataError(f"{path}: must hold {EXPECTED}\nFound: no arrays of numbers.")
    table = [(n, str(r.shape), str(r.dtype), _range(r)) for n, r in arrays.items()]
    header = ("ARRAY", "SHAPE", "DTYPE", "RANGE")
    what = f"{len(arrays)} {'array' if len(arrays) == 1 else 'arrays'} of numbers"
    return Finding(what, header, table, data, fingerprint(*file_names(path)), notes)


def _is_clouds(arrays: Mapping[str, Rows]) -> bool:
    """Whether all arrays are /<category>/<split> with points in space."""
    return bool(arrays) and all(
        name.count("/") == 1
        and name.split("/")[1] in ("train", "val", "test")
        and len(rows.shape) == 3
        and rows.shape[2] == 3
        and rows.dtype.kind == "f"
        for name, rows in arrays.items()
    )


def _array_options(arrays: Mapping[str, Rows], where: str, notes: list[str]) -> dict[str, Any]:
    """Which array, which labels, and a layout where it cannot be told."""
    options: dict[str, Any] = {}
    try:
        found = find_arrays(arrays, None, where)
    except DataError:
        tables = [name for name, rows in arrays.items() if len(rows.shape) > 1]
        if not tables:
            raise
        options["array"] = max(tables, key=lambda name: int(np.prod(arrays[name].shape)))
        found = {"all": arrays[options["array"]]}
        notes.append("No array has a usual name: the largest is taken. Name another: `array:`.")
    marks = arrays.get("split")
    if marks is not None and marks.dtype.kind in "iu" and "all" in found:
        options["split"] = "split"
    elif "all" in found or "val" not in found:
        notes.append("What has no split of its own is taken by a share: `held_out: 0.1`.")
    for name in _LABELS:
        try:
            labels = find_arrays(arrays, name, where)
        except DataError:
            continue
        fits = [
            r.dtype.kind in "iu" and r.shape == found[s].shape[:1]
            for s, r in labels.items()
            if s in found
        ]
        if fits and len(fits) == len(found) and all(fits):
            options["labels"] = name
            break
    first = found.get("train", found.get("all"))
    if first is not None:
        try:
            form_of(first, "auto", "auto")
        except DataError as error:
            options["layout"] = "as_stored"
            notes.append(str(error))
    return options


def _range(rows: Rows) -> str:
    """Lowest and highest number, of the first rows if there are many."""
    if not len(rows):
        return "empty"
    each = max(1, int(np.prod(rows.shape[1:])) * rows.dtype.itemsize)
    count = min(len(rows), max(1, _LOOKED_AT // each))
    values = rows.array() if count == len(rows) else np.stack([rows.row(i) for i in range(count)])
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if not values.size:
        return "empty"
    text = f"{values.min():.5g} … {values.max():.5g}"
    return text if count == len(rows) else f"{text} (first {count} rows)"


def _look_at_images(path: Path) -> Finding:
    split_names, below = image_names.find_splits(path, 0.1)
    names = [name for members in split_names.values() for name in members]
    some = names[:: max(1, len(names) // _IMAGES)][:_IMAGES]
    kinds: Counter[tuple[str, str]] = Counter()
    sides: list[tuple[int, int]] = []
    notes: list[str] = []
    for name in some:
        try:
            with Image.open(path / name) as image:
                kinds[str(image.format), image.mode] += 1
                sides.append(image.size)
        except Exception as error:  # Pillow's readers raise almost anything on a damaged file
            notes.append(f"{name} cannot be read: {error}")
    data: dict[str, Any] = {"type": "image_folder", "path": str(path)}
    shortest = min((min(side) for side in sides), default=64)
    alike = len(set(sides)) == 1 and sides[0][0] == sides[0][1] and shortest <= 256
    data["size"] = shortest if alike else min(64, shortest)
    grey = {mode for _, mode in kinds} <= {"L", "1"} and bool(kinds)
    data |= {"channels": 1} if grey else {}
    labels, classes = _classes(path, names, below)
    data |= {"labels": labels} if labels else {}
    notes.append("The splits are folders." if below else "A share is held out: `held_out: 0.1`.")
    if classes:
        notes.append(
            f"{len(classes)} classes: {', '.join(classes[:10])}{', …' * (len(classes) > 10)}"
        )
    rows = [(fmt, mode, str(count)) for (fmt, mode), count in sorted(kinds.items())]
    low, high = (tuple(map(f, zip(*sides, strict=True))) if sides else (0, 0) for f in (min, max))
    what = f"{len(names)} images, {low[0]} x {low[1]} to {high[0]} x {high[1]} pixels"
    what += "" if len(some) == len(names) else f" (of {len(some)} that were opened)"
    header = ("FORMAT", "MODE", "IMAGES")
    return Finding(what, header, rows, data, fingerprint(path, names), notes)


def _classes(path: Path, names: Sequence[str], below: int) -> tuple[str | None, list[str]]:
    """Where classes are, if they have two images each on average and are at least two."""
    for labels in ("folder", "prefix"):
        try:
            found = sorted({image_names.class_of(path, n, labels, below) for n in names})
        except DataError:
            continue
        if 2 <= len(found) <= len(names) / 2:
            return labels, found
    return None, []


def _look_at_meshes(path: Path) -> Finding:
    found = mesh_names.find_meshes(path, 0.1)
    names = [n for parts in found.values() for members in parts.values() for n in members]
    rows = [
        (group, *(str(len(parts.get(split, ()))) for split in SPLITS))
        for group, parts in found.items()
    ]
    notes = (
        "What has no split of its own is taken by a share: `held_out: 0.1`.",
        "pointcloud.meshes is in the package corekit-pointcloud-diffusion and needs trimesh: "
        "pip install 'corekit-pointcloud-diffusion[meshes]'",
    )
    data = {"type": "pointcloud.meshes", "path": str(path)}
    header = ("CLASS", *map(str.upper, SPLITS))
    return Finding(f"{len(names)} meshes", header, rows, data, fingerprint(path, names), notes)


def _look_at_idx(path: Path) -> Finding:
    pairs = idx_file.find_idx(path)
    files = [file for pair in pairs.values() for file in pair if file is not None]
    table = []
    for file in files:
        rows = idx_file.open_idx(file)
        table.append((file.name, str(rows.shape), str(rows.dtype), _range(rows)))
    labelled = all(labels is not None for _, labels in pairs.values())
    data = {"type": "idx", "path": str(path), **({"labels": True} if labelled else {})}
    facts = fingerprint(files[0].parent, [file.name for file in files])
    return Finding("idx files", ("FILE", "SHAPE", "DTYPE", "RANGE"), table, data, facts)


def _look_at_text(path: Path) -> Finding:
    header = csv_file.read_header(path)
    numbers = [i for i, numeric in enumerate(header.numeric) if numeric]
    words = [i for i, numeric in enumerate(header.numeric) if not numeric]
    if not numbers:
        raise DataError(f"{path}: must be {csv_file.LAYOUT}\nFound no column of numbers.")
    values = csv_file.load_columns(path, header, tuple(numbers), float)
    table = [
        (header.names[i], "number", f"{column.min():.5g} … {column.max():.5g}")
        for i, column in zip(numbers, values.T, strict=True)
    ]
    table += [(header.names[i], "text", "") for i in words]
    data: dict[str, Any] = {"type": "csv", "path": str(path)}
    data |= {"labels": header.names[words[0]]} if words else {}
    facts = fingerprint(path.parent, [path.name])
    what = f"{len(values)} lines with {len(header.names)} columns"
    notes = ("Numbers are read as they are; `standardize: true` brings columns to one scale.",)
    return Finding(what, ("COLUMN", "KIND", "RANGE"), table, data, facts, notes)
