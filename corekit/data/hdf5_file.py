"""An HDF5 file that survives forks and pickling, and says clearly what is wrong with it."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from corekit.data.fingerprint import file_sha256
from corekit.errors import DataError


class Hdf5File:
    """An HDF5 file for reading, opened on first use in each process, pickled without a handle."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: h5py.File | None = None
        self._pid = self._bytes = 0

    def open(self) -> h5py.File:
        """The open file of this process: HDF5 handles do not survive a fork.

        Raises: DataError if there is no such file or it is not HDF5.
        """
        if self._file is not None and self._pid == os.getpid():
            return self._file
        if not self.path.is_file():
            raise DataError(f"{self.path}: a data file must exist here, found none.")
        try:
            self._file = h5py.File(self.path, "r")
        except OSError as error:
            raise DataError(f"{self.path} must be an HDF5 file, but HDF5 says: {error}") from error
        self._pid, self._bytes = os.getpid(), os.stat(self.path).st_size
        return self._file

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None

    def check_whole(self, where: str) -> None:
        """Refuse a file that is shorter than when it was opened: HDF5 would read zeros there.

        Raises: DataError if it is.
        """
        try:
            size = os.stat(self.path).st_size
        except OSError as error:
            raise DataError(f"{self.path}: {where} cannot be read: {error}") from error
        if size < self._bytes:
            raise DataError(
                f"{self.path}: {where} cannot be read: the file must have {self._bytes} bytes, as "
                f"when it was opened, got {size}. It was truncated: copy it again."
            )

    def sha256(self) -> str:
        """SHA-256 of the file."""
        return file_sha256(self.path)

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "_file": None, "_pid": 0, "_bytes": 0}


def check_finite(array: np.ndarray, where: str) -> None:
    """Raise DataError if an array holds NaN or infinity."""
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0]
        raise DataError(
            f"{where} must hold finite numbers, got {array[tuple(at)]} at {at.tolist()}. "
            "Remove the shape from the file."
        )


def plain(value: object) -> object:
    """An HDF5 attribute as JSON knows it."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def contents(file: h5py.File, most: int = 8) -> str:
    """The first few arrays of a file, for a message."""
    found: list[str] = []

    def note(name: str, content: object) -> bool | None:
        if isinstance(content, h5py.Dataset):
            found.append(f"/{name} {content.shape}")
        return True if len(found) > most else None

    file.visititems(note)
    return ", ".join([*found[:most], *(["…"] if len(found) > most else [])]) or "no arrays"
