"""Specs of core's metrics."""

from __future__ import annotations

from typing import Literal

from corekit.spec.base import Spec


class BitsPerDimSpec(Spec):
    """Bits per dimension of held-out data."""

    type: Literal["bits_per_dim"] = "bits_per_dim"
