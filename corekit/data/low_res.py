"""Images with a smaller copy of each beside it: what super-resolution learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor
from torch.nn.functional import avg_pool2d

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.records import Batch, Condition


class LowResSplit(Split):
    """The examples of another split, each with its smaller copy as the condition "image"."""

    def __init__(self, of: Split, factor: int) -> None:
        self.of, self.factor = of, factor

    def __len__(self) -> int:
        return len(self.of)

    def name(self, index: int) -> str:
        """As there."""
        return self.of.name(index)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Example ``index``, and its copy."""
        x, condition = self.of.get(index, rng)
        return Item(x, _beside(condition, reduced(x[None], self.factor)[0]))

    def get_batch(self, indices: Sequence[int]) -> Batch | None:
        """Several at once, where the other split can."""
        batch = self.of.get_batch(indices)
        if batch is None:
            return None
        return batch._replace(condition=_beside(batch.condition, reduced(batch.x, self.factor)))


class LowRes(Dataset):
    """Another data set of images, and beside each image a smaller one: its averages over squares.

    A `diffusion` whose denoiser takes an image (``ddpm.unet``) learns super-resolution from it.

    Args:
        of: The data set.
        factor: Pixels of a side that become one.

    Shape: condition.image ``(C, H / factor, W / factor)``.

    Raises:
        ShapeError: If the data are no images, or the factor does not divide their sides.
        UsageError: If they come with an image already, or the factor is 1.
    """

    def __init__(self, *, of: Dataset, factor: int = 2) -> None:
        spec = of.data_spec
        small = reduced_shape(spec.event_shape, factor, dict(spec.condition_shapes))
        self.of, self.factor, self.splits = of, factor, of.splits
        self.data_spec = replace(spec, condition_shapes={**spec.condition_shapes, "image": small})

    def split(self, name: str) -> LowResSplit:
        """One split of the other data set."""
        return LowResSplit(self.of.split(name), self.factor)

    def describe(self) -> Mapping[str, object]:
        """What the run records."""
        return {**self.of.describe(), "low_res_factor": self.factor}


def reduced(x: Tensor, factor: int) -> Tensor:
    """Means over squares: ``(B, C, H, W)`` to ``(B, C, H / factor, W / factor)``."""
    return avg_pool2d(x, factor)


def reduced_shape(event_shape: Shape, factor: int, conditions: Mapping[str, Shape]) -> Shape:
    """Shape of the smaller image.

    Raises:
        ShapeError, UsageError: See `LowRes`.
    """
    if factor < 2 or "image" in conditions:
        raise UsageError(
            "LowRes: factor must be at least 2, of data without an image beside them, got "
            f"{factor} and the conditions {', '.join(conditions) or 'none'}."
        )
    if len(event_shape) != 3 or any(side % factor for side in event_shape[1:]):
        raise ShapeError(
            f"LowRes: the data must be images (C, H, W) of sides that {factor} divides, got "
            f"{tuple(event_shape)}."
        )
    channels, height, width = event_shape
    return (channels, height // factor, width // factor)


def _beside(condition: Condition | None, image: Tensor) -> Condition:
    return (condition or Condition())._replace(image=image)
