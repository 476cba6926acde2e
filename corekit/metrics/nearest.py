"""Whether samples are copies of the training data."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from corekit.interfaces.dataset import Figure, Metric
from corekit.metrics.features import Features


class NearestTraining(Metric):
    """Distances of samples to their nearest training examples, beside those of held-out data.

    ``closer`` is the share of samples that lie nearer to a training example than the median
    held-out one does: one half of fresh data, near 1 of copies. ``distance`` is the median over the
    samples, root mean square per coordinate.

    Args:
        features: File of a network (`Features`), or None for the data as they are.
        batch: Samples at once.
    """

    def __init__(self, *, features: str | None = None, batch: int = 256) -> None:
        self.features, self.batch = Features(features), batch

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """closer and distance."""
        made, held_out, seen = (
            torch.from_numpy(self.features(x)) for x in (samples, reference, train)
        )
        apart, fresh = (nearest(x, seen, self.batch)[0] for x in (made, held_out))
        closer = (apart < fresh.median()).double().mean().item()
        protocol = {"features": self.features.name, "train": len(train), "samples": len(samples)}
        references = {"chance": fresh.median().item()}  # of data that nobody has seen
        return {
            "closer": Figure(closer, None, {"chance": 0.5}, protocol, better="chance"),
            "distance": Figure(apart.median().item(), None, references, protocol, better="chance"),
        }


def nearest(x: Tensor, among: Tensor, batch: int = 256) -> tuple[Tensor, Tensor]:
    """Distance of each row ``(N, F)`` to its nearest in ``(M, F)``, per coordinate, and which."""
    found = [torch.cdist(part, among).min(1) for part in x.split(batch)]
    distance = torch.cat([pair.values for pair in found]) / x.shape[1] ** 0.5
    return distance, torch.cat([pair.indices for pair in found])
