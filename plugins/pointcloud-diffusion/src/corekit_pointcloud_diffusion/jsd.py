"""The Jensen-Shannon divergence between where samples and held-out shapes have their points."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from corekit.data.point_clouds import ScaleMode
from corekit.interfaces.dataset import Figure, Metric
from corekit.interfaces.draws import seed_of
from corekit.metrics.occupancy import RESOLUTION, jsd, occupancy
from corekit.metrics.protocol import Protocol
from corekit_pointcloud_diffusion.sets import Arrays, blobs, check_sizes, ready


class Jsd(Metric):
    """JSD of the points of all samples and of all held-out shapes, on a grid; base 2.

    It sees where points are on the average of a set, and nothing of single shapes. Ceiling and
    floor as in `Comparison`. Of samples, training shapes and blobs, at most as many are taken as
    there are samples and reference shapes: few points diverge by themselves.

    Args:
        normalise: Applied to each cloud before.
        scale: Brings the clouds into the grid's cube [-1/2, 1/2]. None: 1/2 after "shape_bbox",
            whose clouds lie in [-1, 1]; else half over the largest coordinate of the reference.
            The code of diffusion-point-cloud uses 1 on [-1, 1].
        resolution: Lattice points per axis.
        points: Points per cloud; by default as many as the smallest cloud has.
        seed: Of which clouds and points are taken, and of the blobs.
    """

    def __init__(
        self,
        *,
        normalise: ScaleMode = "shape_bbox",
        scale: float | None = None,
        resolution: int = RESOLUTION,
        points: int | None = None,
        seed: int = 0,
    ) -> None:
        self.normalise: ScaleMode = normalise
        self.scale, self.resolution, self.points, self.seed = scale, resolution, points, seed

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """The divergence with ceiling and floor."""
        check_sizes("Jsd", 1, samples=samples, reference=reference, training_shapes=train)
        count = self.points or min(x.shape[1] for x in (samples, reference, train))
        size = min(len(samples), len(reference))
        drawn = blobs(reference, count, self._rng("blobs"))
        held_out = self._taken("reference", reference, len(reference), count)
        scale = self._scale(held_out)
        wanted = occupancy(held_out, scale=scale, resolution=self.resolution)

        def against(role: str, clouds: Tensor | np.ndarray) -> tuple[float, float]:
            taken = self._taken(role, clouds, size, count)
            found = occupancy(taken, scale=scale, resolution=self.resolution)
            return jsd(found.counts, wanted.counts), found.outside

        value, outside = against("samples", samples)
        references = {"ceiling": against("train", train)[0], "floor": against("blobs", drawn)[0]}
        protocol = Protocol(
            f"JSD in bits, {self.resolution}^3 lattice in a ball, coordinates times {scale:.4g}",
            self.normalise,
            count,
            len(samples),
            len(reference),
            len(train),
            self.seed,
            more={"compared": size, "outside": (round(outside, 4), round(wanted.outside, 4))},
        )
        return {"jsd": Figure(value, None, references, protocol.stamp(), "lower")}

    def _scale(self, reference: Arrays) -> float:
        """The given one, or one that fits the clouds into the grid."""
        if self.scale is not None:
            return self.scale
        if self.normalise == "shape_bbox":
            return 0.5
        return 0.5 / float(max(np.abs(cloud).max() for cloud in reference))

    def _taken(
        self, role: str, clouds: Tensor | np.ndarray, size: int, count: int
    ) -> list[np.ndarray]:
        """Some of the clouds, made ready."""
        rng = self._rng(role)
        rows = np.sort(rng.permutation(len(clouds))[:size])
        return ready(clouds[rows], count, self.normalise, rng)

    def _rng(self, role: str) -> np.random.Generator:
        return np.random.default_rng(seed_of(self.seed, "jsd", role))
