"""One array of a file, read row by row; pickled without what was read."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from corekit.data.hdf5_file import Hdf5File
from corekit.data_spec import Shape
from corekit.errors import DataError


class Rows(ABC):
    """An array ``(N, ...)`` of a file, opened at the first reading in each process.

    Attributes:
        where: File and name, for messages.
        shape, dtype: Of the array.
    """

    def __init__(self, where: str, shape: Shape, dtype: np.dtype) -> None:
        self.where, self.shape, self.dtype = where, tuple(shape), dtype

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Size of the whole array in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    @abstractmethod
    def row(self, index: int) -> np.ndarray:
        """Row ``index``, 0 <= index < N. Do not write to it: it may be kept."""

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Some rows, as a new array."""
        if not len(indices):
            return np.empty((0, *self.shape[1:]), self.dtype)
        return np.stack([self.row(index) for index in indices])

    def array(self) -> np.ndarray:
        """All rows."""
        rows = [self.row(index) for index in range(len(self))]
        return np.stack(rows) if rows else np.empty(self.shape, self.dtype)


class FileRows(Rows):
    """Rows that lie one after another, uncompressed: each is one read at its offset.

    They are read, not mapped into memory: a file that becomes shorter is then an error with words,
    not a bus error. The system's page cache holds what was read.
    """

    def __init__(
        self, path: str | os.PathLike[str], offset: int, where: str, shape: Shape, dtype: np.dtype
    ) -> None:
        super().__init__(where, shape, dtype)
        self.path, self.offset = Path(path), offset
        self._bytes = math.prod(shape[1:]) * dtype.itemsize
        self._file: BinaryIO | None = None
        self._pid = 0

    def row(self, index: int) -> np.ndarray:
        """Row ``index``, freshly read."""
        row = np.empty(self.shape[1:], self.dtype)
        self._read_into(row, index)
        return row

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Some rows, each read into its place."""
        rows = np.empty((len(indices), *self.shape[1:]), self.dtype)
        for place, index in enumerate(indices):
            self._read_into(rows[place : place + 1], index)
        return rows

    def array(self) -> np.ndarray:
        """All rows, in one read."""
        rows = np.empty(self.shape, self.dtype)
        self._read_into(rows, 0)
        return rows

    def _read_into(self, target: np.ndarray, index: int) -> None:
        try:
            if self._file is None or self._pid != os.getpid():  # a fork would share the position
                self._file = open(self.path, "rb", buffering=0)  # noqa: SIM115 - stays open
                self._pid = os.getpid()
            self._file.seek(self.offset + index * self._bytes)
            view = target.reshape(-1).view(np.uint8).data
            done = 0
            while done < len(view) and (count := self._file.readinto(view[done:])):  # type: ignore[attr-defined]
                done += count
        except OSError as error:
            raise DataError(f"{self.where}: row {index} cannot be read: {error}.") from error
        if done < target.nbytes:
            raise DataError(
                f"{self.where}: must have {len(self)} rows, but the file ends before the end of "
                f"row {index + done // max(self._bytes, 1)}. It is truncated: copy it again."
            )

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_file": None, "_pid": 0}

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            self._file.close()  # type: ignore[union-attr]


class MemoryRows(Rows):
    """Rows that can only be read all together (a compressed file, a text file), and are kept.

    Args:
        load: Reads them.
    """

    def __init__(
        self, load: Callable[[], np.ndarray], where: str, shape: Shape, dtype: np.dtype
    ) -> None:
        super().__init__(where, shape, dtype)
        self._load = load
        self._array: np.ndarray | None = None

    def row(self, index: int) -> np.ndarray:
        """Row ``index``, a view."""
        view: np.ndarray = self.array()[index]
        return view

    def take(self, indices: Sequence[int]) -> np.ndarray:
        """Some rows."""
        rows: np.ndarray = self.array()[list(indices)]
        return rows

    def array(self) -> np.ndarray:
        """All rows; read once per process, and never by workers that were forked later."""
        if self._array is None:
            self._array = self._load()
        return self._array

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_array": None}


def kept(rows: Rows) -> Rows:
    """The same rows, read whole at the first reading."""
    if isinstance(rows, MemoryRows):
        return rows
    return MemoryRows(rows.array, rows.where, rows.shape, rows.dtype)


class ChunkRows(Rows):
    """Rows of an HDF5 array in chunks, perhaps compressed: the latest chunks are kept.

    Args:
        file: The file.
        name: Of the array.
        cache_bytes: Most memory to keep chunks in, per process.
    """

    def __init__(self, file: Hdf5File, name: str, cache_bytes: int) -> None:
        array = file.open()[name]
        super().__init__(f"{file.path}: {name}", array.shape, array.dtype)
        self.file, self.name, self.cache_bytes = file, name, cache_bytes
        self._step = int(array.chunks[0]) if array.chunks else 1
        self._cache: OrderedDict[int, np.ndarray] = OrderedDict()
        self._cached = 0

    def row(self, index: int) -> np.ndarray:
        """Row ``index``, of a chunk that is kept or of one that is read now."""
        number, place = divmod(index, self._step)
        chunk = self._cache.get(number)
        if chunk is not None:
            self._cache.move_to_end(number)
            return np.asarray(chunk[place])
        first = number * self._step
        chunk = self._read(first, first + self._step)
        if chunk.nbytes <= self.cache_bytes:
            self._cache[number] = chunk
            self._cached += chunk.nbytes
            while self._cached > self.cache_bytes:
                self._cached -= self._cache.popitem(last=False)[1].nbytes
        return np.asarray(chunk[place])

    def array(self) -> np.ndarray:
        """All rows, in one read."""
        return self._read(0, len(self))

    def _read(self, start: int, stop: int) -> np.ndarray:
        try:
            rows: np.ndarray = self.file.open()[self.name][start:stop]
        except (OSError, KeyError) as error:
            raise DataError(f"{self.where}: row {start} cannot be read: {error}") from error
        self.file.check_whole(f"{self.name}: row {start}")
        return rows

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_cache": OrderedDict(), "_cached": 0}
