"""Running means of loss terms, on the device: read once per log line."""

import torch
from torch import Tensor

from corekit.interfaces.records import LossTerms


class Meter:
    """Sums scalars on their device until they are read.

    ``add`` never waits for the device; ``read`` does, once.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self.count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars ``()``, the same names each time: two operations in all."""
        row = torch.stack([value.detach().float() for value in values.values()])
        self._sums = row if self._sums is None else self._sums + row
        self._names, self.count = list(values), self.count + 1

    def read(self) -> dict[str, float]:
        """The means since the last call; starts anew."""
        if self._sums is None:
            return {}
        means = (self._sums / self.count).tolist()
        self._sums, self.count = None, 0
        return dict(zip(self._names, means, strict=True))


def scalars(terms: LossTerms) -> dict[str, Tensor]:
    """The loss and every term as scalars: means over the rows, and statistics as they are."""
    rows = {name: value.detach().mean() for name, value in terms.terms.items()}
    return {"loss": terms.total.detach().mean(), **rows, **terms.batch_terms}


def weighted_sum(
    total: dict[str, Tensor], values: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """total + share * values, name by name; an empty total is zero."""
    if share == 1:
        return values
    scaled = {name: value * share for name, value in values.items()}
    return {name: total[name] + value for name, value in scaled.items()} if total else scaled
