"""Clouds with a part of each beside it: what completion learns from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Condition
from corekit_pointcloud_diffusion.data_specs import partial_shapes

SEED = 20100131
"""Of the parts of held-out examples: the same for every run."""


class PartialSplit(Split):
    """The clouds of another split, each with the points on one side of it as the condition."""

    def __init__(self, of: Split, most: int, least: int, *, fixed: bool) -> None:
        self.of, self.most, self.least, self.fixed = of, most, least, fixed

    def __len__(self) -> int:
        return len(self.of)

    def name(self, index: int) -> str:
        """As there."""
        return self.of.name(index)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Cloud ``index``, and a part of it."""
        x, condition = self.of.get(index, rng)
        chosen = np.random.default_rng([SEED, index]) if self.fixed else rng
        direction = torch.from_numpy(chosen.normal(size=x.shape[1])).to(x.dtype)
        count = int(chosen.integers(self.least, self.most, endpoint=True))
        points, mask = side(x, direction, count, self.most)
        return Item(x, (condition or Condition())._replace(points=points, mask=mask))


class Partial(Dataset):
    """Another data set of clouds, and beside each cloud those of its points that lie on one side.

    They are the points that lie farthest in a random direction: all that a plane across it cuts
    off. A `diffusion` whose denoiser takes points (``pointcloud.set_transformer``) learns from it
    to complete a shape. For training the direction, and the number between ``least`` and
    ``share``, are drawn at each visit; of held-out examples they are always the same.

    Args:
        of: The data set.
        share: Largest share of the points that is given.
        least: Smallest share; the largest one if None.

    Shape: condition.points ``(K, dimensions)`` and mask ``(K,)``, K = share x points; points that
        are not given are 0, and False in the mask.

    Raises:
        ShapeError: If the data are no clouds.
        UsageError: If they come with points already, or a share is out of range.
    """

    def __init__(self, *, of: Dataset, share: float = 0.5, least: float | None = None) -> None:
        spec = of.data_spec
        least = share if least is None else least
        if not 0 < least <= share <= 1 or "points" in spec.condition_shapes:
            raise UsageError(
                "Partial: 0 < least <= share <= 1 must hold, for data without given points, got "
                f"{least} and {share} and the conditions "
                f"{', '.join(spec.condition_shapes) or 'none'}."
            )
        shapes = partial_shapes(spec.event_shape, share)
        self.of, self.share, self.least, self.splits = of, share, least, of.splits
        self.most = shapes["points"][0]
        self.data_spec = replace(spec, condition_shapes={**spec.condition_shapes, **shapes})

    def split(self, name: str) -> PartialSplit:
        """One split of the other data set."""
        least = max(1, round(self.least * self.data_spec.event_shape[0]))
        return PartialSplit(self.of.split(name), self.most, least, fixed=name != "train")

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {**self.of.describe(), "share": self.share, "least": self.least}


def side(cloud: Tensor, direction: Tensor, count: int, room: int) -> tuple[Tensor, Tensor]:
    """The points of a cloud that lie farthest in a direction, and zeros up to the room.

    Shape: cloud ``(N, D)``, direction ``(D,)``; points ``(room, D)`` and mask ``(room,)``.
    """
    far = (cloud @ direction).argsort(descending=True, stable=True)[:count]
    points = cloud.new_zeros(room, cloud.shape[1])
    points[:count] = cloud[far]
    return points, torch.arange(room) < count
