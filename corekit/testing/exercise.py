"""How the parts of one kind are run: tensors in, tensors out, one row per example."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from corekit.interfaces.draws import Draws, RowDraws
from corekit.testing.case import ROWS, Case

Tensors = dict[str, Tensor]


class Exercise(ABC):
    """Runs a part in the way of its kind; the checks of `corekit.testing.module` use nothing else.

    **Implement one.** Write ``inputs`` and ``__call__``; name outputs that are sums of logarithms
    or of squares in ``wide``. Randomness comes from ``draws(inputs)`` alone, so that a row is the
    same in any batch. Everything in ``__call__`` is differentiable.

    Attributes:
        wide: Outputs that are float32 or wider, whatever comes in.
        compiles: Whether the kind promises to run under ``torch.compile(fullgraph=True)``.
    """

    wide: frozenset[str] = frozenset()
    compiles: bool = False

    @abstractmethod
    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Random inputs, ``(rows, ...)`` each. "rows" holds row numbers for `draws`, on the CPU."""

    @abstractmethod
    def __call__(self, part: Any, inputs: Tensors) -> Tensors:
        """Outputs, ``(rows, ...)`` each."""

    def compilable(self, part: Any, inputs: Tensors) -> Tensors:
        """The inputs of what ``torch.compile`` takes as one graph; none if it takes nothing."""
        return inputs if self.compiles else {}

    def expected_dtype(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """The dtype of an output for inputs of a dtype."""
        return torch.promote_types(dtype, torch.float32) if name in self.wide else dtype

    def differentiable(self, outputs: Tensors) -> Tensors:
        """The outputs that have gradients."""
        return {name: value for name, value in outputs.items() if value.is_floating_point()}


def draws(inputs: Tensors) -> Draws:
    """Random numbers that belong to the rows, not to the batch."""
    return RowDraws(0, inputs["rows"].tolist())


def moved(inputs: Tensors, device: torch.device) -> Tensors:
    """Inputs on another device; row numbers stay where they are."""
    return {name: v if name == "rows" else v.to(device) for name, v in inputs.items()}
