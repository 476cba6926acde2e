"""Metrics of reconstructed point clouds: each against its own shape, with another one beside."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from corekit.data.point_clouds import ScaleMode, shift_and_scale
from corekit.interfaces.dataset import Figure, Metric
from corekit.metrics.all_pairs import paired
from corekit.metrics.distances import ChamferPairs, paired_chamfer
from corekit.metrics.f_score import paired_f_score
from corekit.metrics.named_distances import named_distance
from corekit.metrics.protocol import Protocol

EmdKind = Literal["exact", "squared", "pointflow", "pvd"]
_EMD = {"exact": "emd", "squared": "emd_squared", "pointflow": "emd_pointflow", "pvd": "emd_pvd"}


class Reconstruction(Metric):
    """A number per reconstruction and its own shape. Abstract.

    Printed beside the mean: that to another shape, the mean over the next few of the split, as
    shapes may be sorted by class. A model that ignores its input gets that one.

    Args:
        normalise: Brings each shape to its normal size before, and its reconstruction by the same
            shift and scale; "none": the data as the model sees them.

    Shape: samples ``(R, M, D)``, reference ``(R, N, D)``, row i of one reconstructing row i.
    """

    needs = "reconstructions"
    others = 8  # shapes that a reconstruction is compared with, beside its own
    better: ClassVar[str] = "lower"

    def __init__(self, *, normalise: ScaleMode = "none") -> None:
        self.normalise: ScaleMode = normalise

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the figure."""

    @property
    @abstractmethod
    def definition(self) -> str:
        """The formula in words."""

    @property
    def emd(self) -> str | None:
        """Which "EMD", or None."""
        return None

    @abstractmethod
    def measure(self, made: Tensor, shapes: Tensor) -> np.ndarray:
        """One number per pair, ``(R,)``."""

    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """The mean over the shapes."""
        made, shapes = self._scaled(samples.detach().cpu(), reference.detach().cpu())
        own = self.measure(made, shapes)
        protocol = Protocol(
            self.definition,
            self.normalise,
            (samples.shape[1], reference.shape[1]),
            len(samples),
            len(reference),
            len(train),
            emd=self.emd,
        )
        others = {}
        if len(own) > 1:
            turns = range(1, min(self.others, len(own) - 1) + 1)
            found = [self.measure(made, shapes.roll(turn, 0)) for turn in turns]
            others["another shape"] = float(np.mean(found))
        sd = float(own.std(ddof=1)) if len(own) > 1 else None
        stamp = protocol.stamp(sd_over_shapes=sd)
        return {self.name: Figure(float(own.mean()), None, others, stamp, self.better)}

    def _scaled(self, made: Tensor, shapes: Tensor) -> tuple[Tensor, Tensor]:
        """Both by the shapes' shifts and scales."""
        if self.normalise == "none":
            return made, shapes
        found = [shift_and_scale(shape.numpy(), self.normalise) for shape in shapes]
        shift = torch.from_numpy(np.stack([one[0] for one in found]))
        scale = torch.from_numpy(np.stack([one[1] for one in found]))
        return (made - shift) / scale, (shapes - shift) / scale


class Chamfer(Reconstruction):
    r"""Chamfer distance of each reconstruction to its own shape.

    .. math:: CD(x, y) = mean_{p \in x} \min_{q \in y} |p - q|^2
                       + mean_{q \in y} \min_{p \in x} |p - q|^2

    In squared units of the data as the model sees them, unless they are normalised.
    """

    name = "chamfer"
    definition = ChamferPairs.definition

    def measure(self, made: Tensor, shapes: Tensor) -> np.ndarray:
        """By k-d trees, exact."""
        return paired_chamfer(made, shapes)


class Emd(Reconstruction):
    """Earth mover's distance of each reconstruction to its own shape, or what papers call so.

    The figure is named after the kind, as numbers of two kinds are never comparable. Shapes and
    reconstructions must have equally many points.

    Args:
        kind: "exact", the least mean distance of a one-to-one matching; "squared", the least mean
            squared distance; "pointflow" and "pvd", the approximations of PointFlow (and of
            diffusion-point-cloud's branch ``emd-cd``) and of PVD (and LION).
        normalise: As in `Reconstruction`.
        device: Of the approximations.
    """

    others = 1  # an assignment takes half a second at 2048 points

    def __init__(
        self, *, kind: EmdKind = "exact", normalise: ScaleMode = "none", device: str = "cpu"
    ) -> None:
        super().__init__(normalise=normalise)
        self.distance = named_distance(_EMD.get(kind, kind), device=device)

    @property
    def name(self) -> str:
        """The distance."""
        return self.distance.name

    @property
    def definition(self) -> str:
        """That of the distance."""
        return self.distance.definition

    @property
    def emd(self) -> str | None:
        """The kind in words."""
        return self.distance.emd

    def measure(self, made: Tensor, shapes: Tensor) -> np.ndarray:
        """By the solver of the kind."""
        return paired(self.distance, made, shapes)


class FScore(Reconstruction):
    """Share of points that lie within a threshold of the other cloud: F of both directions.

    Args:
        threshold: What "near" is; it means nothing without the scale of the data.
        squared: Compare it with the squared distance, as PVD does.
        normalise: As in `Reconstruction`.
    """

    name = "f_score"
    better = "higher"

    def __init__(
        self, *, threshold: float = 0.001, squared: bool = True, normalise: ScaleMode = "none"
    ) -> None:
        super().__init__(normalise=normalise)
        self.threshold, self.squared = threshold, squared

    @property
    def definition(self) -> str:
        """With its threshold."""
        return f"F-score, {'squared ' if self.squared else ''}distance below {self.threshold:g}"

    def measure(self, made: Tensor, shapes: Tensor) -> np.ndarray:
        """By k-d trees."""
        return paired_f_score(made, shapes, threshold=self.threshold, squared=self.squared)
