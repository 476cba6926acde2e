"""What `all_pairs` needs of a distance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np


class PairDistance(ABC):
    """A distance of two clouds, from one cloud to many at a time.

    Attributes:
        name: What options and caches call it.
        definition: The formula in words, as figures carry it.
        emd: Which "EMD" it is, or None for another distance.
        symmetric: Whether d(x, y) = d(y, x) and d(x, x) = 0.
        prunes: Whether `bounds` and `unless_above` save work; as they are here, they save none.
    """

    name: str
    definition: str
    emd: str | None = None
    symmetric: bool = True
    prunes: bool = False

    def check(self, clouds: Sequence[np.ndarray]) -> None:
        """Refuse clouds that it is not defined for; of both sets, before any work."""
        return

    def prepare(self, cloud: np.ndarray) -> Any:
        """What is worth computing once per cloud ``(N, D)``."""
        return cloud

    @abstractmethod
    def row(self, x: Any, others: Sequence[Any]) -> np.ndarray:
        """Distances of one prepared cloud to several: ``(len(others),)``, float64."""

    def bounds(self, x: Any, others: Sequence[Any]) -> np.ndarray:
        """Numbers, cheap to get, that the distances do not lie below: ``(len(others),)``."""
        return np.zeros(len(others))

    def unless_above(self, x: Any, y: Any, best: float) -> tuple[float, bool]:
        """The distance and True; or a lower bound of it that lies above ``best``, and False."""
        return float(self.row(x, [y])[0]), True
