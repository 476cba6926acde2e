"""Mean and standard deviation of training data, for models that compute with standardised data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from corekit.data_spec import DataSpec, Support
from corekit.errors import DataError

if TYPE_CHECKING:
    from corekit.data.tables import TableSplit

_ROWS = 4096  # rows that are read together
_LEAST = 1e-6  # of the largest number: float32 cannot tell such numbers apart


def with_statistics(
    spec: DataSpec, train: TableSplit, where: str, names: Sequence[str] | None = None
) -> DataSpec:
    r"""A DataSpec with the mean and the standard deviation of the training rows.

    .. math:: \mu = \tfrac1N \sum_n x_n, \qquad \sigma^2 = \tfrac1N \sum_n (x_n - \mu)^2

    Of vectors each feature has its own, in float64; of other events there is one of all numbers.

    Args:
        spec: What an example is.
        train: The training rows, and no others.
        where: File, for messages.
        names: Of the features, for messages.

    Raises: DataError if data are not real numbers, or a feature does not vary.
    """
    if spec.levels is not None or spec.support is not Support.REAL:
        what = f"{spec.levels} levels" if spec.levels else spec.support.value
        raise DataError(f"{where}: standardize must be left out of such data, got {what}.")
    vector = len(spec.event_shape) == 1
    mean, std, largest = _moments(train, vector)
    for i in np.flatnonzero(~(std > _LEAST * largest)).tolist():
        name = f"column '{names[i]}'" if names and vector else f"feature {i}" if vector else "data"
        raise DataError(
            f"{where}: {name} must vary to be standardised, got {mean[i]:g} +- {std[i]:.1g} in "
            f"{len(train)} training rows. Leave it out, or set standardize: false."
        )
    return replace(spec, mean=tuple(mean.tolist()), std=tuple(std.tolist()))


def _moments(train: TableSplit, vector: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and largest absolute value; two passes, so nothing cancels."""

    def chunks() -> list[range]:
        return [range(i, min(i + _ROWS, len(train))) for i in range(0, len(train), _ROWS)]

    def rows(chunk: range) -> np.ndarray:
        x = train.examples(chunk).astype(np.float64)
        return x if vector else x.reshape(-1, 1)

    count, total, largest = 0, np.zeros(1), np.zeros(1)
    for chunk in chunks():
        x = rows(chunk)
        count, total = count + len(x), total + x.sum(0)
        largest = np.maximum(largest, np.abs(x).max(0))
    mean = total / count
    squares = np.zeros(1)
    for chunk in chunks():
        squares = squares + np.square(rows(chunk) - mean).sum(0)
    return mean, np.sqrt(squares / count), largest
