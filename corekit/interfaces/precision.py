"""Arithmetic in the precision that tensors have, whatever autocast would make of it."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A block without autocast on the device of x; a device that has none needs no block.

    Example:
        >>> weight = torch.eye(2)
        >>> with torch.autocast("cpu", torch.bfloat16), full_precision(weight):
        ...     (weight @ weight).dtype
        torch.float32
    """
    kind = x.device.type
    if not torch.amp.is_autocast_available(kind):
        return nullcontext()
    return torch.autocast(kind, enabled=False)


def wide(x: Tensor) -> Tensor:
    """x in float32, or in float64 where it is: what sums of logarithms are taken in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
