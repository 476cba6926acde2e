"""What posteriors share: numbers in float32 or wider, and bounds on them."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """In float32 or wider."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def softly_bounded(x: Tensor, bound: float | None) -> Tensor:
    """b tanh(x / b): near zero x itself, never beyond b; x where b is None."""
    return x if bound is None else bound * (x / bound).tanh()
