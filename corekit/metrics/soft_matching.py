"""The two approximations that papers report as "EMD", by the names of the code they come from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from corekit.errors import ShapeError, UsageError

Legacy = Literal["pointflow", "pvd"]
LEGACY: tuple[str, ...] = get_args(Legacy)

_TINY = 1e-9  # added to every denominator, as the kernels have it
_ENTRIES = 2**23  # of the matrices (pairs, N, N) that are held at once


class SoftMatch(NamedTuple):
    """The cost of a soft matching and how much was matched.

    Attributes:
        cost: ``(B,)``, per point.
        mass: Share of the points that found a partner, ``(B,)``; 1 would be a matching.
    """

    cost: Tensor
    mass: Tensor


def soft_matching(x: Tensor, y: Tensor, kind: Legacy = "pointflow") -> SoftMatch:
    r"""The annealed soft matching of two clouds, which is *not* the earth mover's distance.

    With d the Euclidean distances, and what is left of either side L = R = 1 in the beginning, for
    the levels l = 4^7, 4^6 ... 4^-1 in turn:

    .. math::
        K_{ij} &= e^{-l d_{ij}^2} \\
        a_i &= L_i / (\textstyle\sum_j K_{ij} R_j + 10^{-9}) \\
        s_j &= R_j \textstyle\sum_i K_{ij} a_i \\
        b_j &= R_j \min(1, R_j / (s_j + 10^{-9})) \\
        M_{ij} &\mathrel{+}= a_i K_{ij} b_j, \quad
        R_j \leftarrow \max(0, R_j - s_j), \quad
        L_i \leftarrow \max(0, L_i - a_i \textstyle\sum_j K_{ij} b_j)

    ==========  ===============================  ================
    kind        levels                           cost, per point
    ==========  ===============================  ================
    pointflow   4^7 ... 4^-1                     sum of M d
    pvd         these, then a last level l = 0   sum of M d^2
    ==========  ===============================  ================

    ``pointflow`` is what PointFlow and the branch ``emd-cd`` of diffusion-point-cloud call EMD,
    ``pvd`` is what PVD, LION and DiT-3D do. Both lie above the optimum, by a share that depends on
    the clouds (10 to 40 % for the first, up to five times for the second), are not symmetric, and
    are not zero between a cloud and itself. They differ from each other in unit: use them to be
    compared with a table made with the same one, and for nothing else.

    The gradient is that of the cost with M held fixed, as in these kernels.

    Args:
        x: Clouds.
        y: As many clouds with as many points.
        kind: "pointflow" or "pvd".

    Shape: x, y ``(B, N, D)``; cost, mass ``(B,)`` in the dtype of x.
    Source: Fan et al., A Point Set Generation Network, CVPR 2017, section 3.2 and its code;
        constants of stevenygd/PointFlow and of daerduoCarey/PyTorchEMD
    """
    _check(x, y, kind)
    n = x.shape[1]
    costs, masses = [], []
    for a, b in _parts(x, y):
        distance = _distances(a, b)
        with torch.no_grad():
            match = _match(distance.square(), last=kind == "pvd")
        unit = distance if kind == "pointflow" else distance.square()
        costs.append((match * unit).sum((1, 2)) / n)
        masses.append(match.sum((1, 2)) / n)
    return SoftMatch(torch.cat(costs), torch.cat(masses))


def _match(squared: Tensor, *, last: bool) -> Tensor:
    """M of `soft_matching`, ``(B, N, N)``, from squared distances."""
    levels = [4.0**power for power in range(7, -2, -1)] + ([0.0] if last else [])
    left = squared.new_ones(squared.shape[:2])
    right = torch.ones_like(left)
    match = torch.zeros_like(squared)
    for level in levels:
        kernel = torch.exp(-level * squared)
        a = left / (torch.einsum("bij,bj->bi", kernel, right) + _TINY)
        reached = right * torch.einsum("bij,bi->bj", kernel, a)
        b = right * (right / (reached + _TINY)).clamp(max=1)
        moved = kernel.mul_(a[:, :, None]).mul_(b[:, None])
        match += moved
        right = (right - reached).clamp(min=0)
        left = (left - moved.sum(2)).clamp(min=0)
    return match


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean, by differences: products would cost digits and a gradient at zero."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def _parts(x: Tensor, y: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches whose matrices fit in memory."""
    size = max(1, _ENTRIES // x.shape[1] ** 2)
    return zip(x.split(size), y.split(size), strict=True)


def _check(x: Tensor, y: Tensor, kind: str) -> None:
    if kind not in LEGACY:
        raise UsageError(f"SoftMatching: kind must be one of {', '.join(LEGACY)}, got '{kind}'.")
    if x.ndim != 3 or x.shape != y.shape or not x.shape[0] or not x.shape[1]:
        raise ShapeError(
            "SoftMatching: x and y must have one shape (batch, points, D), "
            f"got {tuple(x.shape)} and {tuple(y.shape)}. Draw as many points of each."
        )
