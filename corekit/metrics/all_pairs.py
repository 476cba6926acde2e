"""Distances of all pairs of two sets: each is measured once, in threads, and kept on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from corekit.errors import ShapeError
from corekit.metrics.clouds import Clouds, cloud_arrays
from corekit.metrics.kept import Kept, content_key
from corekit.metrics.pair_distance import PairDistance
from corekit.metrics.progress import watched


def all_pairs(
    distance: PairDistance,
    a: Clouds,
    b: Clouds | None = None,
    *,
    cache: str | os.PathLike[str] | None = None,
    workers: int = 1,
) -> np.ndarray:
    """The matrix of distances ``(len(a), len(b))``, float64; of ``a`` with itself without ``b``.

    The arguments are those of `Pairs`.
    """
    return Pairs(distance, a, b, cache=cache, workers=workers).all()


def paired(distance: PairDistance, a: Clouds, b: Clouds) -> np.ndarray:
    """The distances of the clouds of ``a`` to their partners in ``b``: ``(len(a),)``, float64."""
    who = type(distance).__name__.removesuffix("Pairs")
    if len(a) != len(b):
        raise ShapeError(f"{who}: pairs must be complete, got {len(a)} and {len(b)} clouds.")
    first = cloud_arrays(who, a)
    second = cloud_arrays(who, b, dimensions=first[0].shape[1])
    distance.check([*first, *second])
    pairs = zip(map(distance.prepare, first), map(distance.prepare, second), strict=True)
    return np.array([distance.row(x, [y])[0] for x, y in pairs])


class Pairs:
    """The distances of the clouds of two sets, measured when they are asked for.

    With a cache, each row (or what was measured of it) is written as soon as it is there. The name
    of its folder is a hash of the distance and of the clouds' numbers: whoever asks again for the
    same clouds, after whatever end, finds what was measured, and other clouds find nothing.

    Args:
        distance: Which.
        a: Clouds ``(N_i, D)``: the rows.
        b: Clouds: the columns. None: ``a`` itself.
        cache: Folder for the distances of any number of sets. None: memory only.
        workers: Threads. The solvers and trees let go of Python's lock.

    Attributes:
        solved: How many distances were measured here, not read.
    """

    def __init__(
        self,
        distance: PairDistance,
        a: Clouds,
        b: Clouds | None = None,
        *,
        cache: str | os.PathLike[str] | None = None,
        workers: int = 1,
    ) -> None:
        who = type(distance).__name__.removesuffix("Pairs")
        first = cloud_arrays(who, a)
        second = first if b is None else cloud_arrays(who, b, dimensions=first[0].shape[1])
        distance.check([*first, *second])
        self.distance, self.workers, self.solved = distance, max(1, workers), 0
        self.within = b is None
        self._clouds, self._ready = (first, second), False
        self.rows: list[Any] = []
        self.columns: list[Any] = []
        key = content_key(distance.name, [first] if b is None else [first, second])
        about = {"distance": distance.definition, "rows": len(first), "columns": len(second)}
        folder = None if cache is None else Path(cache) / key
        self.kept = Kept((len(first), len(second)), folder, about)
        self._mirrored = self.within and distance.symmetric
        if self._mirrored:
            np.fill_diagonal(self.kept.values, 0.0)
        self._lower = np.zeros(self.kept.values.shape)
        self._bounded = False

    def all(self) -> np.ndarray:
        """The whole matrix. It is a copy."""
        self._measure()
        return self.kept.values.copy()

    def minima(
        self, rows: Sequence[int], columns: Sequence[int], *, of_columns: bool = True
    ) -> np.ndarray:
        """A block of the matrix in which the minima of all rows and columns are right.

        So are their places, ties included. If `PairDistance.prunes`, a distance that cannot be a
        minimum may be inf instead: a candidate is measured only while its lower bound is not above
        the least distance so far. Of a set with itself, a cloud is not its own neighbour: the
        diagonal is inf.

        Args:
            rows: Of the block.
            columns: Of the block.
            of_columns: False: only the minima of the rows are wanted.
        """
        block = np.ix_(rows, columns)
        if not self.distance.prunes:
            self._measure()
            found = self.kept.values[block]
        else:
            self._prepare()
            self._bound()
            self._each(lambda i: self._line([i], columns), rows, "rows")
            if of_columns and not (self._mirrored and list(rows) == list(columns)):
                self._each(lambda j: self._line(rows, [j]), columns, "columns")
            found = self.kept.values[block]
            found[np.isnan(found)] = np.inf
        if self.within:
            found[np.equal.outer(rows, columns)] = np.inf
        return found

    def _measure(self) -> None:
        """All that is not known."""
        if np.isnan(self.kept.values).any():
            self._prepare()
            self._each(self._row, range(len(self.rows)), "rows")
            self.rows, self.columns, self._ready = [], [], False  # trees are large

    def _prepare(self) -> None:
        """Trees and the like, once, when they are needed."""
        if not self._ready:
            first, second = self._clouds
            self.rows = [self.distance.prepare(cloud) for cloud in first]
            other = self.rows if self.within else map(self.distance.prepare, second)
            self.columns, self._ready = list(other), True

    def _row(self, i: int) -> None:
        """Measure what is not known of a row."""
        start = i + 1 if self._mirrored else 0
        missing = start + np.flatnonzero(np.isnan(self.kept.values[i, start:]))
        if len(missing):
            found = self.distance.row(self.rows[i], [self.columns[j] for j in missing])
            self._keep(np.full(len(missing), i), missing, found)

    def _line(self, rows: Sequence[int], columns: Sequence[int]) -> None:
        """Measure what the minimum of a row, or of a column, depends on: one of them has size 1."""
        line = np.array([(i, j) for i in rows for j in columns if not (self.within and i == j)])
        if not len(line):
            return
        known = self.kept.values[line[:, 0], line[:, 1]]
        best = float(np.nanmin(known, initial=np.inf))
        new: list[tuple[int, int, float]] = []
        lower = self._lower[line[:, 0], line[:, 1]]
        for k in np.argsort(lower, kind="stable"):
            if lower[k] > best:
                break
            if not np.isnan(known[k]):
                continue
            i, j = line[k]
            value, exact = self.distance.unless_above(self.rows[i], self.columns[j], best)
            if exact:
                new.append((i, j, value))
                best = min(best, value)
            else:
                self._lower[i, j] = value  # a better bound, for the column's turn
        if new:
            measured = np.array(new)
            self._keep(measured[:, 0].astype(int), measured[:, 1].astype(int), measured[:, 2])

    def _keep(self, rows: np.ndarray, columns: np.ndarray, distances: np.ndarray) -> None:
        self.solved += len(rows)
        if self._mirrored:
            rows, columns = np.append(rows, columns), np.append(columns, rows)
            distances = np.append(distances, distances)
        self.kept.keep(rows, columns, distances)

    def _bound(self) -> None:
        """Lower bounds of all pairs, once."""

        def one(i: int) -> None:
            self._lower[i] = self.distance.bounds(self.rows[i], self.columns)

        if not self._bounded:
            self._each(one, range(len(self.rows)), "bounds")
            self._bounded = True

    def _each(self, job: Callable[[int], None], numbers: Sequence[int], what: str) -> None:
        """Do a job for each number, in threads if there are several."""
        n, m = self.kept.values.shape
        label = f"{self.distance.name} {n} x {m}, {what}"
        if self.workers == 1:
            _drain(watched(map(job, numbers), len(numbers), label))
            return
        with ThreadPoolExecutor(self.workers) as pool:  # an interrupt drops what has not begun
            _drain(watched(pool.map(job, numbers), len(numbers), label))


def _drain(items: Iterable[Any]) -> None:
    for _ in items:
        pass
