"""Gray images made black and white: what likelihoods of two values are compared on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Support
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset, Item, Split

How = Literal["dynamic", "fixed", "threshold"]


class BinarizedSplit(Split):
    """The examples of another split, each element 0 or 1."""

    def __init__(self, of: Split, spec: DataSpec, how: How, seed: int) -> None:
        self.of, self.how, self.seed = of, how, seed
        self.low, self.high = spec.black_and_white

    def __len__(self) -> int:
        return len(self.of)

    def name(self, index: int) -> str:
        """As there."""
        return self.of.name(index)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Example ``index``: 1 with the probability that its gray says, or above one half."""
        x, condition = self.of.get(index, rng)
        gray = (x - self.low) / (self.high - self.low)
        return Item((self._thresholds(gray, index, rng) < gray).to(x.dtype), condition)

    def _thresholds(self, gray: Tensor, index: int, rng: np.random.Generator) -> Tensor:
        if self.how == "threshold":
            return torch.full_like(gray, 0.5)
        source = rng if self.how == "dynamic" else np.random.default_rng((self.seed, index))
        return torch.from_numpy(source.random(tuple(gray.shape), dtype=np.float32)).to(gray.dtype)


class Binarized(Dataset):
    """Another data set whose gray values are probabilities of 1.

    "dynamic" draws training examples anew at each visit and held-out ones once, "fixed" all of them
    once; "threshold" draws nothing, and makes 1 of what is above the middle.

    Args:
        of: The data set.
        how: See above.
        seed: Of what is drawn once: it depends on (seed, row) alone.

    Shape: as there; values 0.0 and 1.0.

    Raises:
        UsageError: If the other data have no black and white.

    Source: Salakhutdinov and Murray, On the Quantitative Analysis of Deep Belief Networks, ICML
        2008 (fixed); Burda et al., Importance Weighted Autoencoders, ICLR 2016 (dynamic).
    """

    def __init__(self, *, of: Dataset, how: How = "dynamic", seed: int = 0) -> None:
        if how not in ("dynamic", "fixed", "threshold"):
            raise UsageError(
                f"Binarized: how must be 'dynamic', 'fixed' or 'threshold', got {how!r}."
            )
        self.of, self.how, self.seed, self.splits = of, how, seed, of.splits
        self.data_spec = binarized_spec(of.data_spec)

    def split(self, name: str) -> BinarizedSplit:
        """One split of the other data set."""
        dynamic = self.how == "dynamic" and name != "train"
        how: How = "fixed" if dynamic else self.how
        return BinarizedSplit(self.of.split(name), self.of.data_spec, how, self.seed)

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {**self.of.describe(), "binarized": self.how, "binarized_seed": self.seed}


def binarized_spec(of: DataSpec) -> DataSpec:
    """What the data are then.

    Raises:
        UsageError: If they are neither quantised nor on the unit interval.
    """
    if of.levels is None and of.support is not Support.UNIT_INTERVAL:
        raise UsageError(
            "Binarized: the data must have levels, or lie on the unit interval, got support "
            f"'{of.support.value}' without levels. Images of 8 bits have them."
        )
    plain = {"mean": None, "std": None, "support": Support.UNIT_INTERVAL}
    return replace(of, levels=2, bin_width=1.0, lowest=0.0, **plain)  # type: ignore[arg-type]
