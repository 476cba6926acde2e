"""How many of the codes a batch uses."""

import torch
from torch import Tensor


def usage(counts: Tensor) -> dict[str, Tensor]:
    r"""Perplexity exp(H) of how often each code was taken, and the share of codes taken at all.

    .. math:: \exp\big(-\sum_k p_k \log p_k\big), \qquad 1 \ldots K

    Shape: counts ``(K,)``; both ``()``.
    """
    p = counts.to(torch.float32) / counts.sum().clamp(min=1)
    entropy = torch.special.entr(p).sum()
    return {"perplexity": entropy.exp(), "codes_used": (counts > 0).float().mean()}


def counts_of(codes: Tensor, levels: int) -> Tensor:
    """How often each code was taken, ``(levels,)``; no host sync."""
    return torch.zeros(levels, device=codes.device, dtype=torch.float32).scatter_add_(
        0, codes.flatten(), torch.ones_like(codes.flatten(), dtype=torch.float32)
    )
