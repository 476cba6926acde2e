"""A matrix of distances that outlives the process: what was measured is on disk."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from corekit.errors import DataError


class Kept:
    """Distances of a matrix, nan where not known, and a folder with those that are.

    Each call of `keep` writes one file ``<name>.npy`` of triplets (row, column, distance) under
    another name and then renames it, so a file is whole or not there, and several processes may
    fill one folder.

    Args:
        shape: Of the matrix.
        folder: Made if need be; None keeps distances in memory only.
        about: Written beside them as ``about.json``, for people.

    Attributes:
        values: The matrix, float64.
        found: How many distances were on disk.
    """

    def __init__(
        self, shape: tuple[int, int], folder: Path | None, about: Mapping[str, object]
    ) -> None:
        self.values = np.full(shape, np.nan)
        self.folder = folder
        self.found = 0
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", "utf-8")
        except OSError as error:
            raise DataError(
                f"Cache: '{folder}' must be a folder to write to, got '{error}'."
            ) from None
        for path in sorted(folder.glob("*.npy")):
            self._read(path)
        self.found = int(np.isfinite(self.values).sum())

    def keep(self, rows: np.ndarray, columns: np.ndarray, distances: np.ndarray) -> None:
        """Remember distances, at once and whole: three arrays ``(K,)``."""
        self.values[rows, columns] = distances
        if self.folder is None or not len(rows):
            return
        path = self.folder / f"{uuid.uuid4().hex}.npy"
        partial = path.with_suffix(".partial")
        with open(partial, "wb") as file:
            np.save(file, np.stack([rows, columns, distances], 1).astype(np.float64))
        os.replace(partial, path)

    def _read(self, path: Path) -> None:
        try:
            rows, columns, distances = np.load(path, allow_pickle=False).T
            self.values[rows.astype(int), columns.astype(int)] = distances
        except (ValueError, IndexError, OSError, EOFError) as error:
            raise DataError(
                f"Cache: '{path}' must hold (row, column, distance), got '{error}'. "
                "Remove the file: its distances are measured again."
            ) from None


def content_key(name: str, sets: Sequence[Sequence[np.ndarray]]) -> str:
    """A name for the distances between these very clouds, with a hash of sizes and numbers."""
    digest = hashlib.sha256(repr([[c.shape for c in clouds] for clouds in sets]).encode())
    for clouds in sets:
        for cloud in clouds:
            digest.update(np.ascontiguousarray(cloud, np.float64).tobytes())
    return f"{name}-{digest.hexdigest()[:24]}"
