"""Running means of loss terms, on the device: read once per log line."""

from typing import NamedTuple

import torch
from torch import Tensor

from corekit.interfaces.records import LossTerms

_ROWS = 1024  # steps that are kept on the device, however rarely they are read


class Bad(NamedTuple):
    """A step with a scalar that is not finite."""

    ago: int
    """How many steps were added after it."""
    values: dict[str, float]


class Meter:
    """Keeps scalars on their device until they are read.

    ``add`` never waits for the device (but once in 1024 steps); ``read`` does, once.

    Args:
        skipping: Leave out the steps whose ``grad_norm`` is not finite: they were not taken.
    """

    def __init__(self, *, skipping: bool = False) -> None:
        self.skipping = skipping
        self.bad: Bad | None = None
        self.last_skipped: dict[str, float] = {}
        self.skipped = 0
        self._start()

    def _start(self) -> None:
        self._names: list[str] = []
        self._rows: list[Tensor] = []
        self._sums: Tensor | None = None
        self._kept = self.count = self._skipped = 0
        self._bad: tuple[int, dict[str, float]] | None = None
        self._last_skipped: dict[str, float] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars ``()``, the same names each time: one operation in all."""
        self._rows.append(torch.stack([value.detach().float() for value in values.values()]))
        self._names, self.count = list(values), self.count + 1
        if len(self._rows) == _ROWS:
            self._fold()

    def read(self) -> dict[str, float]:
        """The means since the last call; starts anew.

        ``bad`` is then the first step of these that was not finite, or None; ``skipped`` how many
        were left out, and ``last_skipped`` the last of them. Nothing is returned if all were.
        """
        if self._rows:
            self._fold()
        self.skipped, self.last_skipped = self._skipped, self._last_skipped
        self.bad = None if self._bad is None else Bad(self.count - 1 - self._bad[0], self._bad[1])
        means = {}
        if self._sums is not None and self._kept:
            means = self._named(self._sums / self._kept)
        self._start()
        return means

    def _named(self, row: Tensor) -> dict[str, float]:
        return dict(zip(self._names, row.tolist(), strict=True))

    def _fold(self) -> None:
        """Fetch the rows and add them up."""
        table = torch.stack(self._rows).double().cpu()
        first = self.count - len(self._rows)
        if self.skipping and "grad_norm" in self._names:
            kept = table[:, self._names.index("grad_norm")].isfinite()
        else:
            kept = torch.ones(len(table), dtype=torch.bool)
        wrong = (~table.isfinite().all(1) & kept).nonzero().flatten().tolist()
        if wrong and self._bad is None:
            self._bad = first + wrong[0], self._named(table[wrong[0]])
        if not bool(kept.all()):
            self._last_skipped = self._named(table[~kept][-1])
        sums = table[kept].sum(0)
        self._sums = sums if self._sums is None else self._sums + sums
        self._kept += int(kept.sum())
        self._skipped += len(table) - int(kept.sum())
        self._rows = []


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
