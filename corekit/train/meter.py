"""Running means of loss terms, on the device: read once per log line."""

import math
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor

from corekit.interfaces.records import LossTerms

_ROWS = 1024  # steps that are kept on the device, however rarely they are read
_NORM = "grad_norm"


class Bad(NamedTuple):
    """A step with a scalar that is not finite."""

    ago: int
    """How many steps were added after it."""
    values: dict[str, float]


class _Rows(NamedTuple):
    """Steps with the same names."""

    values: list[Tensor]
    steps: list[int]


class Meter:
    """Keeps scalars on their device until they are read.

    ``add`` never waits for the device (but once in 1024 steps); ``read`` does, once.

    Args:
        skipping: Leave out the steps of which a ``grad_norm`` is not finite: that was not taken.
    """

    def __init__(self, *, skipping: bool = False) -> None:
        self.skipping = skipping
        self.bad: Bad | None = None
        self.last_skipped: dict[str, float] = {}
        self.skipped = 0
        self._start()

    def _start(self) -> None:
        self._rows: dict[tuple[str, ...], _Rows] = {}
        self._sums: dict[str, tuple[float, int]] = {}  # of each name, and of how many steps
        self.count = self._unread = self._skipped = 0
        self._bad: tuple[float, dict[str, float]] = math.inf, {}  # the first
        self._last_skipped: tuple[float, dict[str, float]] = -1, {}

    def add(self, values: dict[str, Tensor]) -> None:
        """Add one step's scalars ``()``: one operation in all.

        Steps may differ in their names; a mean is over the steps that have the name.
        """
        rows = self._rows.setdefault(tuple(values), _Rows([], []))
        rows.values.append(torch.stack([value.detach().float() for value in values.values()]))
        rows.steps.append(self.count)
        self.count, self._unread = self.count + 1, self._unread + 1
        if self._unread == _ROWS:
            self._fold()

    def read(self) -> dict[str, float]:
        """The means since the last call; starts anew.

        ``bad`` is then the first step of these that was not finite, or None; ``skipped`` how many
        were left out, and ``last_skipped`` the last of them. Nothing is returned if all were.
        """
        self._fold()
        self.skipped, self.last_skipped = self._skipped, self._last_skipped[1]
        first, values = self._bad
        self.bad = Bad(self.count - 1 - int(first), values) if values else None
        means = {name: total / steps for name, (total, steps) in self._sums.items()}
        self._start()
        return means

    def _fold(self) -> None:
        """Fetch the rows and add them up."""
        for names, rows in self._rows.items():
            self._look_at(names, rows)
        self._rows, self._unread = {}, 0

    def _look_at(self, names: tuple[str, ...], rows: _Rows) -> None:
        table = torch.stack(rows.values).double().cpu()
        norms = [i for i, name in enumerate(names) if name.split("/")[-1] == _NORM]
        kept = torch.ones(len(table), dtype=torch.bool)
        if self.skipping and norms:
            kept = table[:, norms].isfinite().all(1)
        bad, left = ~table.isfinite().all(1) & kept, ~kept
        bad_at, left_at = (which.nonzero().flatten().tolist() for which in (bad, left))

        def step(i: int) -> tuple[int, dict[str, float]]:
            return rows.steps[i], dict(zip(names, table[i].tolist(), strict=True))

        if bad_at:
            self._bad = min(self._bad, step(bad_at[0]), key=itemgetter(0))
        if left_at:
            self._last_skipped = max(self._last_skipped, step(left_at[-1]), key=itemgetter(0))
        self._skipped += len(left_at)
        if taken := len(table) - len(left_at):
            for name, value in zip(names, table[kept].sum(0).tolist(), strict=True):
                total, steps = self._sums.get(name, (0.0, 0))
                self._sums[name] = total + value, steps + taken


def scalars(terms: LossTerms, loss: Tensor | None = None) -> dict[str, Tensor]:
    """The loss and every term as scalars: means over the rows, and statistics as they are.

    Args:
        terms: Of one forward pass.
        loss: The mean of the total, where it is known.
    """
    loss = (terms.total.mean() if loss is None else loss).detach()
    rows = {
        name: loss if value is terms.total else value.detach().mean()
        for name, value in terms.terms.items()
    }
    return {"loss": loss, **rows, **terms.batch_terms}


def weighted_sum(
    total: dict[str, Tensor], values: dict[str, Tensor], share: float
) -> dict[str, Tensor]:
    """total + share * values, name by name; an empty total is zero."""
    if share == 1:
        return values
    scaled = {name: value * share for name, value in values.items()}
    return {name: total[name] + value for name, value in scaled.items()} if total else scaled
