"""Is one model better than another? Tests of figures over repeated sample sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from math import comb
from typing import Literal, NamedTuple

import numpy as np

from corekit.errors import DataError, UsageError

Alternative = Literal["less", "greater", "two-sided"]

_TIE = 1e-12  # relative: sums in another order must count as equal
_CHUNK = 4096


class Difference(NamedTuple):
    """The difference of two models' figures and how far chance goes.

    Attributes:
        mean: Of the first minus of the second.
        standard_error: Of this mean.
        p_value: Chance of one at least as extreme, if the models were equal.
        exact: Whether all rearrangements were tried, or random ones.
        rearrangements: How many were tried.
    """

    mean: float
    standard_error: float
    p_value: float
    exact: bool
    rearrangements: int

    def clear(self, alpha: float = 0.05) -> bool:
        """The house's rule for "better": beyond two standard errors, and p at most alpha."""
        return abs(self.mean) > 2 * self.standard_error and self.p_value <= alpha


def paired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    alternative: Alternative = "two-sided",
    limit: int = 20_000,
    seed: int = 0,
) -> Difference:
    r"""Sign-flip test of paired figures: the i-th of both share seed, reference and subset.

    With d_i = first_i - second_i, equal models make the sign of each d_i a coin:

    .. math:: p = \#\{ s \in \{-1, 1\}^n : mean(s d) \ge mean(d) \} / 2^n

    for "greater"; "less" and "two-sided" likewise. Of n pairs, the least p is 2^-n, or 2^(1-n) on
    two sides: **five sample sets cannot reach p = 0.05 on two sides** (1/16), but can on one
    (1/32). Say before the runs which side it is.

    Args:
        first: Figures of a model, one per sample set.
        second: Those of another, of the same sample sets' seeds.
        alternative: What is to be shown of first minus second; "less" if small figures are good.
        limit: All 2^n sign flips are tried up to this many; else as many random ones, and the
            given one counts as one of them, which keeps the test valid.
        seed: Of these.

    Source: Fisher, The Design of Experiments, 1935, section 21; for random ones, Phipson and
        Smyth, Permutation P-values Should Never Be Zero, 2010
    """
    a, b = _figures(first, "first"), _figures(second, "second")
    if len(a) != len(b):
        raise DataError(f"PairedDifference: figures must be paired, got {len(a)} and {len(b)}.")
    d, n = a - b, len(a)
    _options(alternative, limit)
    exact = 2**n <= limit
    rng = np.random.default_rng(seed)
    signs: Iterator[np.ndarray]
    if exact:
        signs = _chunks(product((-1.0, 1.0), repeat=n))
    else:
        signs = (rng.choice((-1.0, 1.0), (k, n)) for k in _sizes(limit))
    means = np.concatenate([s @ d / n for s in signs])
    error = float(d.std(ddof=1) / np.sqrt(n))
    return _result(d.mean(), error, means, np.abs(d).mean(), alternative, exact)


def unpaired_difference(
    first: Sequence[float] | np.ndarray,
    second: Sequence[float] | np.ndarray,
    *,
    alternative: Alternative = "two-sided",
    limit: int = 20_000,
    seed: int = 0,
) -> Difference:
    r"""Permutation test of two sets of figures that have nothing in common but the protocol.

    Equal models make every split of the n + m figures into n and m equally likely. The standard
    error is that of two independent means, the root of var(first) / n + var(second) / m. Arguments
    as in `paired_difference`.
    """
    a, b = _figures(first, "first"), _figures(second, "second")
    both, n = np.concatenate([a, b]), len(a)
    _options(alternative, limit)
    total = len(both)
    exact = comb(total, n) <= limit
    rng = np.random.default_rng(seed)
    rows: Iterator[np.ndarray]
    if exact:
        rows = _chunks(combinations(range(total), n))
    else:
        rows = (
            rng.permuted(np.tile(np.arange(total), (k, 1)), axis=1)[:, :n] for k in _sizes(limit)
        )
    sums = np.concatenate([both[r.astype(int)].sum(1) for r in rows])
    means = sums / n - (both.sum() - sums) / (total - n)
    error = float(np.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / len(b)))
    return _result(a.mean() - b.mean(), error, means, np.abs(both).mean(), alternative, exact)


def _result(
    mean: float, error: float, means: np.ndarray, size: float, side: str, exact: bool
) -> Difference:
    """Count the rearrangements that are at least as extreme."""
    slack = _TIE * size
    if side == "less":
        extreme = means <= mean + slack
    elif side == "greater":
        extreme = means >= mean - slack
    else:
        extreme = np.abs(means) >= abs(mean) - slack
    count, tried = int(extreme.sum()), len(means)
    p = count / tried if exact else (count + 1) / (tried + 1)
    return Difference(float(mean), error, p, exact, tried)


def _chunks(rows: Iterator[tuple[float, ...]]) -> Iterator[np.ndarray]:
    """Arrays of up to so many rows."""
    chunk: list[tuple[float, ...]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _CHUNK:
            yield np.array(chunk)
            chunk = []
    if chunk:
        yield np.array(chunk)


def _sizes(total: int) -> Iterator[int]:
    return (min(_CHUNK, total - start) for start in range(0, total, _CHUNK))


def _figures(values: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all():
        raise DataError(
            f"Difference: {what} must be at least 2 finite figures, got {np.array2string(array)}."
        )
    return array


def _options(alternative: str, limit: int) -> None:
    if alternative not in ("less", "greater", "two-sided") or limit < 1:
        raise UsageError(
            "Difference: alternative must be less, greater or two-sided and limit at least 1, "
            f"got '{alternative}' and {limit}."
        )
