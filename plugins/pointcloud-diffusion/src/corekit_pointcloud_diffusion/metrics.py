"""Metrics of point clouds: reconstruction and two-sample figures, with what they mean."""

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from corekit.data.point_clouds import ScaleMode, draw_points, shift_and_scale
from corekit.errors import DataError
from corekit.interfaces.dataset import Figure, Metric
from corekit.interfaces.draws import seed_of
from corekit.metrics.distances import paired_chamfer, pairwise_chamfer
from corekit.metrics.two_sample import TwoSample, one_nna_chance, two_sample

OTHERS = 8  # shapes that a reconstruction is compared with, beside its own
POOL = 4  # subsets are drawn from at most this many times their size: bounds the pairs


class Chamfer(Metric):
    r"""Chamfer distance of each reconstruction to its own shape.

    .. math:: CD(x, y) = mean_{p \in x} \min_{q \in y} |p - q|^2
                       + mean_{q \in y} \min_{p \in x} |p - q|^2

    Printed beside it: the distance to another shape, the mean over the next eight of the split, as
    shapes may be sorted by class. A model that ignores its input gets that one.

    Shape: samples, reference ``(R, N, 3)``, row i of one reconstructing row i of the other.
    """

    needs = "reconstructions"

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """The mean over the shapes, in squared units of the data as the model sees it."""
        own = paired_chamfer(samples, reference)
        protocol = {
            "distance": "squared, sum of both directions",
            "shapes": len(own),
            "points": (samples.shape[1], reference.shape[1]),
            "sd_over_shapes": float(own.std(ddof=1)) if len(own) > 1 else None,
        }
        others = {}
        if len(own) > 1:
            turns = range(1, min(OTHERS, len(own) - 1) + 1)
            distances = [paired_chamfer(samples, reference.roll(turn, 0)) for turn in turns]
            others["another shape"] = float(np.mean(distances))
        return {"chamfer": Figure(float(own.mean()), None, others, protocol, "lower")}


class OneNna(Metric):
    """1-nearest-neighbour accuracy, coverage and MMD between samples and held-out shapes, with CD.

    A number of this kind means little alone: it moves with the sizes of the sets, the number of
    points and the normalisation. So each comes with

    - chance: expected 1-NNA of equal distributions at these sizes;
    - ceiling: subsets of the *training* shapes, as many as there are samples, in place of the
      samples: what a perfect model gets from so few shapes;
    - floor: Gaussian blobs with the mean and covariance of the reference shapes.

    With more samples than reference shapes, random subsets as large as the reference are compared
    and averaged.

    Args:
        normalise: Applied to each cloud, of any set, before it is compared.
        subsets: Random subsets for mean and sd.
        points: Points compared per cloud; by default as many as the smallest cloud has.
        seed: Of subsets, points and blobs.
        workers: Threads.
    """

    def __init__(
        self,
        *,
        normalise: ScaleMode = "shape_bbox",
        subsets: int = 20,
        points: int | None = None,
        seed: int = 0,
        workers: int = 1,
    ) -> None:
        self.normalise = normalise
        self.subsets = subsets
        self.points = points
        self.seed = seed
        self.workers = workers
        self._known: dict[str, tuple[TwoSample, TwoSample | None]] = {}

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """1-NNA, coverage and MMD, each with chance, ceiling, floor and protocol."""
        sets = {"samples": samples, "reference": reference, "training shapes": train}
        for name, clouds in sets.items():
            if len(clouds) < 2:
                raise DataError(f"OneNna: there must be at least 2 {name}, got {len(clouds)}.")
        count = self.points or min(clouds.shape[1] for clouds in sets.values())
        held_out = self._prepare(reference, count, "reference")
        within = pairwise_chamfer(held_out, workers=self.workers)
        size = min(len(samples), len(reference))

        def compare(role: str, clouds: Tensor | np.ndarray) -> tuple[TwoSample, TwoSample | None]:
            pool = self._prepare(clouds, count, role)
            return self._compare(pool, held_out, within, size, self._rng(role, "subsets"))

        def compare_once(
            role: str, clouds: Tensor | np.ndarray
        ) -> tuple[TwoSample, TwoSample | None]:
            key = _digest(role, size, count, reference, clouds)  # the same at every evaluation
            if key not in self._known:
                self._known[key] = compare(role, clouds)
            return self._known[key]

        value, sd = compare("samples", samples)
        ceiling, ceiling_sd = compare_once("train", train)
        floor, _ = compare_once("blobs", _blobs(reference, count, self._rng("blobs", "points")))
        protocol = {
            "distance": "Chamfer, squared, sum of both directions",
            "samples": len(samples),
            "compared": size,
            "reference": len(reference),
            "ceiling": f"{min(size, len(train))} of {len(train)} training shapes",
            "points": count,
            "normalise": self.normalise,
            "subsets": self.subsets if len(samples) > size else 1,
            "seed": self.seed,
        }
        chance = {"one_nna": one_nna_chance(size, len(reference))}
        figures = {}
        for name, better in (("one_nna", "chance"), ("coverage", "higher"), ("mmd", "lower")):
            references = {"ceiling": getattr(ceiling, name), "floor": getattr(floor, name)}
            if name in chance:
                references = {"chance": chance[name], **references}
            spread = {"ceiling_sd": getattr(ceiling_sd, name)} if ceiling_sd else {}
            figures[name] = Figure(
                getattr(value, name),
                getattr(sd, name) if sd else None,
                references,
                {**protocol, **spread},
                better,
            )
        return figures

    def _rng(self, role: str, purpose: str) -> np.random.Generator:
        return np.random.default_rng(seed_of(self.seed, role, purpose))

    def _prepare(self, clouds: Tensor | np.ndarray, count: int, role: str) -> list[np.ndarray]:
        """Each cloud normalised by all of its points, then ``count`` of these."""
        rng, prepared = self._rng(role, "draw"), []
        for cloud in _numpy(clouds):
            shift, scale = shift_and_scale(cloud, self.normalise)
            prepared.append(draw_points((cloud - shift) / scale, count, rng))
        return prepared

    def _compare(
        self,
        pool: list[np.ndarray],
        reference: list[np.ndarray],
        within: np.ndarray,
        size: int,
        rng: np.random.Generator,
    ) -> tuple[TwoSample, TwoSample | None]:
        """Mean and sd over subsets of ``size`` clouds; all of them, once, if there are no more."""
        chosen = [pool[i] for i in rng.permutation(len(pool))[: POOL * size]]
        across = pairwise_chamfer(reference, chosen, workers=self.workers)
        among = pairwise_chamfer(chosen, workers=self.workers)
        if len(chosen) <= size:
            return two_sample(within, across, among), None
        values = []
        for _ in range(self.subsets):
            rows = rng.choice(len(chosen), size, replace=False)
            values.append(two_sample(within, across[:, rows], among[np.ix_(rows, rows)]))
        spread = np.std(values, axis=0, ddof=1) if self.subsets > 1 else None
        return TwoSample(*np.mean(values, axis=0).tolist()), (
            None if spread is None else TwoSample(*spread.tolist())
        )


def _blobs(clouds: Tensor, count: int, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian cloud with the mean and covariance of each cloud: no shape but the extent."""
    drawn = [
        rng.multivariate_normal(cloud.mean(0), np.cov(cloud.T), count, method="svd")
        for cloud in _numpy(clouds).astype(float)
    ]
    return np.stack(drawn)


def _numpy(clouds: Tensor | np.ndarray) -> np.ndarray:
    return clouds.detach().cpu().numpy() if isinstance(clouds, Tensor) else clouds


def _digest(role: str, size: int, count: int, *sets: Tensor | np.ndarray) -> str:
    digest = hashlib.sha256(f"{role} {size} {count}".encode())
    for clouds in sets:
        digest.update(np.ascontiguousarray(_numpy(clouds)).tobytes())
    return digest.hexdigest()
