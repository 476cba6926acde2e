"""Whether samples look like data, in the features of a network: FID, KID, precision, recall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from corekit.interfaces.dataset import Figure, Metric
from corekit.metrics.features import Features
from corekit.metrics.frechet import frechet_distance, kernel_distance, precision_recall


class Fid(Metric):
    """Distances between samples and held-out data over the features of one network.

    All sets are cut to the size of the smallest, as the Fréchet distance grows when examples are
    few; what training data score against the same held-out ones is the reference beside it.

    Args:
        features: File of the network (`Features`), or None for the data as they are.
        data_range: What black and white are in the data.
        network_range: What they are for the network.
        resize: Height and width that it wants, or None.
        neighbours: k of precision and recall.
        batch: Examples at once.

    Shape: examples ``(N, ...)``.
    """

    def __init__(
        self,
        *,
        features: str | None = None,
        data_range: Sequence[float] = (-1.0, 1.0),
        network_range: Sequence[float] = (-1.0, 1.0),
        resize: int | None = None,
        neighbours: int = 3,
        batch: int = 64,
    ) -> None:
        self.features = Features(
            features,
            data_range=data_range,
            network_range=network_range,
            resize=resize,
            batch=batch,
        )
        self.neighbours = neighbours

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """fid, kid, precision and recall."""
        size = min(len(samples), len(reference), len(train))
        made, held_out, seen = (self.features(x[:size]) for x in (samples, reference, train))
        kid, floor = kernel_distance(held_out, made), kernel_distance(held_out, seen)
        precision, recall = precision_recall(held_out, made, self.neighbours)
        known = precision_recall(held_out, seen, self.neighbours)
        protocol = {"features": self.features.name, "examples": size}
        counted = {**protocol, "neighbours": self.neighbours}
        references = {"train": frechet_distance(held_out, seen)}
        return {
            "fid": Figure(frechet_distance(held_out, made), None, references, protocol),
            "kid": Figure(
                kid.value, None, {"train": floor.value}, {**protocol, "error": kid.error}
            ),
            "precision": Figure(precision, None, {"train": known[0]}, counted, better="higher"),
            "recall": Figure(recall, None, {"train": known[1]}, counted, better="higher"),
        }
