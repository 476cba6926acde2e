"""Bounds on what a posterior is made of."""

from torch import Tensor


def softly_bounded(x: Tensor, bound: float | None) -> Tensor:
    """b tanh(x / b): near zero x itself, never beyond b; x where b is None."""
    return x if bound is None else bound * (x / bound).tanh()
