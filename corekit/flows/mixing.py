"""A matrix over the features of a vector, or over the channels at each position."""

import math

from torch import Tensor
from torch.nn.functional import linear

from corekit.data_spec import Shape
from corekit.errors import ShapeError


def mixed(x: Tensor, weight: Tensor) -> Tensor:
    """W x over axis 1: ``(B, D)``, or ``(B, C, ...)`` as a convolution of one pixel."""
    if x.ndim == 2:
        return linear(x, weight)
    return (weight @ x.flatten(2)).reshape(x.shape)


def per_channel(event_shape: Shape) -> Shape:
    """The shape of one number per feature or channel."""
    return (event_shape[0], *(1,) * (len(event_shape) - 1))


def positions(event_shape: Shape) -> int:
    """How often the matrix is applied: pixels of an image, 1 for a vector."""
    return math.prod(event_shape[1:])


def check_features(who: str, event_shape: Shape) -> None:
    """Refuse an event without an axis.

    Raises:
        ShapeError: In words.
    """
    if not event_shape:
        raise ShapeError(f"{who}: event_shape must have an axis of features, got ().")
