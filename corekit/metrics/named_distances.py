"""The distances that an option can name."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from corekit.errors import UsageError
from corekit.metrics.clouds import check_equal_sizes
from corekit.metrics.distances import ChamferPairs
from corekit.metrics.emd import EMDPairs
from corekit.metrics.pair_distance import PairDistance
from corekit.metrics.soft_matching import Legacy, soft_matching

_PAIRS = 64  # in one call, at most


class SoftPairs(PairDistance):
    """An approximation of `soft_matching`, from the row's cloud to the column's.

    Args:
        kind: "pointflow" or "pvd".
        device: Where it is computed, in float64.
    """

    symmetric = False

    def __init__(self, kind: Legacy, *, device: str = "cpu") -> None:
        self.kind, self.device = kind, device
        self.name = f"emd_{kind}"
        unit = "distance" if kind == "pointflow" else "squared distance"
        self.emd = f"approximation of {kind}, not EMD"
        self.definition = f"annealed soft matching of {kind}, mean {unit}"

    def check(self, clouds: Sequence[np.ndarray]) -> None:
        """All clouds must have equally many points."""
        check_equal_sizes(self.name, clouds)

    def row(self, x: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
        """From one cloud to several, ``(len(others),)``."""
        found = []
        for start in range(0, len(others), _PAIRS):
            y = torch.from_numpy(np.stack(others[start : start + _PAIRS])).to(self.device)
            cloud = torch.from_numpy(x).to(self.device).expand_as(y)
            found.append(soft_matching(cloud, y, self.kind).cost.cpu().numpy())
        return np.concatenate(found)


DISTANCES: tuple[str, ...] = ("chamfer", "emd", "emd_squared", "emd_pointflow", "emd_pvd")


def named_distance(name: str, *, device: str = "cpu") -> PairDistance:
    """The distance of this name, one of `DISTANCES`.

    Args:
        name: "chamfer"; "emd", "emd_squared", exact; "emd_pointflow", "emd_pvd", approximations.
        device: Of the approximations; the others are computed on the CPU.
    """
    if name == "chamfer":
        return ChamferPairs()
    if name in ("emd", "emd_squared"):
        return EMDPairs(squared=name == "emd_squared")
    if name == "emd_pointflow":
        return SoftPairs("pointflow", device=device)
    if name == "emd_pvd":
        return SoftPairs("pvd", device=device)
    raise UsageError(f"Distance: name must be one of {', '.join(DISTANCES)}, got '{name}'.")
