"""Two-sample figures of point clouds, 1-NNA, coverage and MMD, with what they mean."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from corekit.data.point_clouds import ScaleMode
from corekit.interfaces.dataset import Figure, Metric
from corekit.interfaces.draws import seed_of
from corekit.metrics.named_distances import named_distance
from corekit.metrics.protocol import Protocol
from corekit.metrics.two_sample import coverage, mmd, one_nna_chance, two_sample
from corekit_pointcloud_diffusion.sets import (
    Arrays,
    blobs,
    check_sizes,
    ready,
    shared_pairs,
)

POOL = 4  # subsets are drawn from at most this many times their size: bounds the pairs


class Spread(NamedTuple):
    """Figures by name: mean and standard deviation over subsets, none of a single one."""

    mean: Mapping[str, float]
    sd: Mapping[str, float | None]


class Comparison(Metric):
    """Samples against held-out shapes, by the distances of all pairs. Abstract.

    A number of this kind means little alone: it moves with the sizes of the sets, the number of
    points, the normalisation and the distance. So each comes with

    - chance: what equal distributions give at these sizes, where that is known;
    - ceiling: subsets of the *training* shapes, as many as there are samples, in place of the
      samples: what a perfect model gets from so few shapes;
    - floor: Gaussian blobs with the mean and covariance of the reference shapes;
    - its `Protocol`.

    With more samples than reference shapes, random subsets as large as the reference are compared
    and averaged. Figures of another distance than Chamfer have its name in theirs.

    Args:
        distance: One of `corekit.metrics.named_distances.DISTANCES`.
        normalise: Applied to each cloud, of any set, before it is compared.
        subsets: Random subsets for mean and sd.
        points: Points compared per cloud; by default as many as the smallest cloud has.
        seed: Of subsets, points and blobs.
        cache: Folder in which distances are kept, so that a killed evaluation goes on.
        workers: Threads.
        device: Of the approximations of EMD.
    """

    better: ClassVar[Mapping[str, str]]  # figure -> which way is better
    within = False  # whether it needs the distances of each set with itself

    def __init__(
        self,
        *,
        distance: str = "chamfer",
        normalise: ScaleMode = "shape_bbox",
        subsets: int = 20,
        points: int | None = None,
        seed: int = 0,
        cache: str | None = None,
        workers: int = 1,
        device: str = "cpu",
    ) -> None:
        self.distance = named_distance(distance, device=device)
        self.normalise: ScaleMode = normalise
        self.subsets, self.points, self.seed = subsets, points, seed
        self.cache, self.workers = cache, workers

    @abstractmethod
    def measure(
        self, across: np.ndarray, reference: np.ndarray, samples: np.ndarray
    ) -> list[float]:
        """The figures, in the order of `better`; the last two are empty unless `within`.

        Shape: across ``(R, S)``, reference ``(R, R)``, samples ``(S, S)``, inf on the diagonals.
        """

    def chance(self, reference: int, samples: int) -> Mapping[str, float]:
        """What equal distributions give, where that is known."""
        return {}

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """Each figure with chance, ceiling, floor and protocol."""
        sets = {"samples": samples, "reference": reference, "training_shapes": train}
        check_sizes(type(self).__name__, 2, **sets)
        count = self.points or min(clouds.shape[1] for clouds in sets.values())
        held_out = ready(reference, count, self.normalise, self._rng("reference", "draw"))
        size = min(len(samples), len(reference))

        def compare(role: str, clouds: Tensor | np.ndarray) -> Spread:
            pool = ready(clouds, count, self.normalise, self._rng(role, "draw"))
            return self._compare(pool, held_out, size, self._rng(role, "subsets"))

        value, ceiling = compare("samples", samples), compare("train", train)
        floor = compare("blobs", blobs(reference, count, self._rng("blobs", "points")))
        chance = self.chance(len(reference), size)
        protocol = Protocol(
            self.distance.definition,
            self.normalise,
            count,
            len(samples),
            len(reference),
            len(train),
            self.seed,
            self.distance.emd,
            {
                "compared": size,
                "ceiling": f"{min(size, len(train))} of {len(train)} training shapes",
                "subsets": self.subsets if len(samples) > size else 1,
            },
        )
        suffix = "" if self.distance.name == "chamfer" else f"_{self.distance.name}"
        figures = {}
        for name, better in self.better.items():
            known = {"chance": chance[name]} if name in chance else {}
            references = {**known, "ceiling": ceiling.mean[name], "floor": floor.mean[name]}
            stamp = protocol.stamp(ceiling_sd=ceiling.sd[name])
            figure = Figure(value.mean[name], value.sd[name], references, stamp, better)
            figures[name + suffix] = figure
        return figures

    def _rng(self, role: str, purpose: str) -> np.random.Generator:
        return np.random.default_rng(seed_of(self.seed, role, purpose))

    def _compare(
        self, pool: Arrays, reference: Arrays, size: int, rng: np.random.Generator
    ) -> Spread:
        """Mean and sd over subsets of ``size`` clouds; all of them, once, if there are no more."""
        pairs = partial(shared_pairs, self.distance, cache=self.cache, workers=self.workers)
        chosen = [pool[i] for i in rng.permutation(len(pool))[: POOL * size]]
        across = pairs(reference, chosen)
        every: Sequence[int] = range(len(reference))
        nothing = np.empty((0, 0))
        if self.within:
            own = pairs(reference).minima(every, every)
            among = pairs(chosen)

        def one(rows: Sequence[int]) -> list[float]:
            near = across.minima(every, rows)
            return self.measure(
                near,
                own if self.within else nothing,
                among.minima(rows, rows) if self.within else nothing,
            )

        if len(chosen) <= size:
            values = [one(range(len(chosen)))]
        else:
            values = [
                one(rng.choice(len(chosen), size, replace=False).tolist())
                for _ in range(self.subsets)
            ]
        sd = (
            np.std(values, axis=0, ddof=1).tolist()
            if len(values) > 1
            else [None] * len(self.better)
        )
        mean = np.mean(values, axis=0).tolist()
        names = tuple(self.better)
        return Spread(dict(zip(names, mean, strict=True)), dict(zip(names, sd, strict=True)))


class OneNna(Comparison):
    """1-nearest-neighbour accuracy between samples and held-out shapes; coverage and MMD with it.

    ``one_nna`` is the share of all shapes whose nearest neighbour is of their own set: 1/2 (chance)
    is best. ``one_nna_reference`` and ``one_nna_samples`` are the shares of either set: samples
    that copy few shapes are near each other, so that the second is high and the first is low.
    """

    within = True
    better: ClassVar[Mapping[str, str]] = {
        "one_nna": "chance",
        "one_nna_reference": "chance",
        "one_nna_samples": "chance",
        "coverage": "higher",
        "mmd": "lower",
    }

    def measure(
        self, across: np.ndarray, reference: np.ndarray, samples: np.ndarray
    ) -> list[float]:
        """In the order of `better`."""
        found = two_sample(reference, across, samples)
        return [getattr(found, name) for name in self.better]

    def chance(self, reference: int, samples: int) -> Mapping[str, float]:
        """Of both sets together and of each: a neighbour is any other shape."""
        others = reference + samples - 1
        return {
            "one_nna": one_nna_chance(samples, reference),
            "one_nna_reference": (reference - 1) / others,
            "one_nna_samples": (samples - 1) / others,
        }


class Coverage(Comparison):
    """Share of the held-out shapes that are the nearest one to some sample."""

    better: ClassVar[Mapping[str, str]] = {"coverage": "higher"}

    def measure(
        self, across: np.ndarray, reference: np.ndarray, samples: np.ndarray
    ) -> list[float]:
        """Coverage."""
        return [coverage(across)]


class Mmd(Comparison):
    """Minimum matching distance: the mean distance of a held-out shape to its nearest sample.

    ``mmd_samples`` is the mean distance of a sample to its nearest held-out shape: bad samples,
    which MMD forgives as long as others are good, raise it.
    """

    better: ClassVar[Mapping[str, str]] = {"mmd": "lower", "mmd_samples": "lower"}

    def measure(
        self, across: np.ndarray, reference: np.ndarray, samples: np.ndarray
    ) -> list[float]:
        """MMD of the reference and of the samples."""
        return [mmd(across), mmd(across.T)]
