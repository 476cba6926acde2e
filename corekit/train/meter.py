"""Running means of loss terms, on the device: read once per log line."""

import torch
from torch import Tensor

from corekit.interfaces.records import LossTerms


class Meter:
    """Sums scalars on their device until they are read.

    ``add`` never waits for the device; ``read`` does, once.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars ``()``."""
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._count += 1

    def read(self) -> dict[str, float]:
        """The means since the last call; starts anew."""
        if not self._sums:
            return {}
        means = (torch.stack(list(self._sums.values())) / self._count).tolist()
        names, self._sums, self._count = list(self._sums), {}, 0
        return dict(zip(names, means, strict=True))


def scalars(terms: LossTerms) -> dict[str, Tensor]:
    """The loss and every term as scalars: means over the rows, and statistics as they are."""
    rows = {name: value.detach().mean() for name, value in terms.terms.items()}
    return {"loss": terms.total.detach().mean(), **rows, **terms.batch_terms}
