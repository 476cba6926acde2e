"""What a data set holds: the one source of shapes, value ranges and bits per dimension."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

Shape = tuple[int, ...]


class Support(str, Enum):
    """The set that the values of one event lie in."""

    REAL = "real"
    POSITIVE = "positive"
    UNIT_INTERVAL = "unit_interval"  # [0, 1]
    SYMMETRIC_INTERVAL = "symmetric_interval"  # [-1, 1]
    SPHERE = "sphere"  # unit norm
    SIMPLEX = "simplex"  # groups of shares, each adding up to 1; one-hot codes are corners
    CODES = "codes"  # integers 0 … levels - 1


@dataclass(frozen=True)
class DataSpec:
    """The shape, range and number of the examples of a data set.

    Args:
        event_shape: shape of one example, no batch dimension: `(2048, 3)`, `(3, 32, 32)`
        dtype: name of the torch dtype that a batch arrives in
        support: the set that values lie in
        levels: number of distinct values where the data are quantised (256 for 8-bit images)
        bin_width: distance between two neighbouring levels, in data units
        size: number of training examples
        condition_shapes: shape of each condition that comes with an example, by name
        lowest: value of the lowest level, in data units: level k is lowest + k bin_width
        mean, std: what a model standardises data with, of each feature or one for all; None leaves
            them as they are
    """

    event_shape: Shape
    dtype: str = "float32"
    support: Support = Support.REAL
    levels: int | None = None
    bin_width: float | None = None
    size: int | None = None
    condition_shapes: Mapping[str, Shape] = field(default_factory=dict)
    lowest: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def black_and_white(self) -> tuple[float, float]:
        """Values of the lowest and the highest level; 0 and 1 on the unit interval, else -1 and 1.

        The last where the data do not say.
        """
        if self.lowest is not None and self.levels is not None and self.bin_width is not None:
            return self.lowest, self.lowest + (self.levels - 1) * self.bin_width
        return (0.0, 1.0) if self.support is Support.UNIT_INTERVAL else (-1.0, 1.0)


def pixel_spec(
    event_shape: Shape,
    value_range: tuple[float, float],
    *,
    size: int | None = None,
    condition_shapes: Mapping[str, Shape] | None = None,
    bits: int = 8,
) -> DataSpec:
    """What 8-bit values are, brought to a range: level 0 is its low end, level 255 its high end.

    With fewer ``bits`` there are 2^bits levels, the last one again at the high end.

    Data in [0, 1] lie on the unit interval; others, those in [-1, 1] too, are said to be real, and
    `lowest`, `levels` and `bin_width` give their bounds.
    """
    low, high = value_range
    return DataSpec(
        tuple(event_shape),
        support=Support.UNIT_INTERVAL if (low, high) == (0, 1) else Support.REAL,
        levels=2**bits,
        bin_width=(high - low) / (2**bits - 1),
        size=size,
        condition_shapes=dict(condition_shapes or {}),
        lowest=float(low),
    )
