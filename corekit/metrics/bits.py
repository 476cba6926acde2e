"""Bits per dimension of held-out data under a model of their levels."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from corekit.interfaces.dataset import Figure, Metric


class BitsPerDim(Metric):
    """The mean over held-out examples of -log2 P(x) / D.

    What a model says of each is computed beforehand, with noise that belongs to the example: twice
    the same figure, and that of another model with the same noise.

    Shape: bits ``(R,)`` in place of samples.
    """

    needs = "bits_per_dim"

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """The mean, with half a 95 % interval over the examples."""
        bits = samples.double()
        half = 1.96 * bits.std().item() / math.sqrt(len(bits)) if len(bits) > 1 else None
        protocol = {"examples": len(bits), "interval95": half, "unit": "bits per dimension"}
        return {"mean": Figure(bits.mean().item(), None, {}, protocol, better="lower")}
