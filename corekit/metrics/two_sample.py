"""Do two sets of shapes look alike? From distances alone: 1-NNA, coverage, MMD."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from corekit.errors import ShapeError


class TwoSample(NamedTuple):
    """Figures that compare a set of samples with a reference set.

    Attributes:
        one_nna: Share of all shapes whose nearest neighbour is of their own set; 0.5 is best,
            1 tells the sets apart, less than 0.5 copies the reference.
        one_nna_reference: The same over the reference shapes only.
        one_nna_samples: The same over the samples only.
        coverage: Share of reference shapes that are nearest to some sample.
        mmd: Minimum matching distance: mean distance of a reference shape to its nearest sample.
        mmd_samples: Mean distance of a sample to its nearest reference shape.
    """

    one_nna: float
    one_nna_reference: float
    one_nna_samples: float
    coverage: float
    mmd: float
    mmd_samples: float


def two_sample(
    reference: np.ndarray, reference_to_samples: np.ndarray, samples: np.ndarray
) -> TwoSample:
    """The figures, from three matrices of distances.

    Shape: reference ``(R, R)``, reference_to_samples ``(R, S)``, samples ``(S, S)``.
    Source: 1-NNA: Lopez-Paz & Oquab, Revisiting Classifier Two-Sample Tests, ICLR 2017;
        coverage, MMD: Achlioptas et al., Learning Representations and Generative Models for 3D
        Point Clouds, ICML 2018; all three: Yang et al., PointFlow, ICCV 2019, section 5.1
    """
    r, s = reference_to_samples.shape
    if reference.shape != (r, r) or samples.shape != (s, s) or r + s < 2:
        raise ShapeError(
            "TwoSample: the matrices must be (R, R), (R, S), (S, S), got "
            f"{reference.shape}, {reference_to_samples.shape}, {samples.shape}."
        )
    distances = np.block(
        [[reference, reference_to_samples], [reference_to_samples.T, samples]]
    ).astype(float)
    np.fill_diagonal(distances, np.inf)
    is_reference = np.arange(r + s) < r
    # down the columns, as the reference has it: the approximations of EMD are not symmetric
    own = is_reference[distances.argmin(0)] == is_reference
    return TwoSample(
        one_nna=float(own.mean()),
        one_nna_reference=float(own[:r].mean()),
        one_nna_samples=float(own[r:].mean()),
        coverage=coverage(reference_to_samples),
        mmd=mmd(reference_to_samples),
        mmd_samples=mmd(reference_to_samples.T),
    )


def coverage(reference_to_samples: np.ndarray) -> float:
    """Share of the reference shapes that are the nearest to some sample; distances ``(R, S)``."""
    return len(np.unique(reference_to_samples.argmin(0))) / len(reference_to_samples)


def mmd(reference_to_samples: np.ndarray) -> float:
    """Mean distance of a reference shape to its nearest sample; distances ``(R, S)``."""
    return float(reference_to_samples.min(1).mean())


def one_nna_chance(n: int, m: int) -> float:
    """Expected 1-NNA of two sets of n and m shapes from one distribution.

    (n (n - 1) + m (m - 1)) / ((n + m) (n + m - 1)): a neighbour is any other shape, and all are
    as likely. Just below 1/2 for equal sizes, and far above for unequal ones.
    """
    return (n * (n - 1) + m * (m - 1)) / ((n + m) * (n + m - 1))
