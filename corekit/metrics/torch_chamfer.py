"""The Chamfer distance with gradients, on any device, in little memory."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.errors import ShapeError, UsageError


def chamfer_loss(x: Tensor, y: Tensor, *, chunk: int = 512) -> Tensor:
    r"""Chamfer distances of the clouds of two batches, with gradients for both.

    The formula of `corekit.metrics.distances.chamfer`: squared distances, the mean over the points
    of a cloud, the sum of both directions. Nearest points are looked for without gradients,
    ``chunk`` rows of the matrix of distances at a time; then only the pairs that were found are
    computed again. The distances are by differences, not by products: float32 keeps its digits.

    Args:
        x: Clouds.
        y: As many clouds, perhaps of another size.
        chunk: Points of x that are compared with all of y at once.

    Shape: x ``(B, N, D)``, y ``(B, M, D)``; ``(B,)``. Memory O(B chunk M), time O(B N M).
    """
    _check(x, y, chunk)
    to_y, to_x = nearest_points(x, y, chunk=chunk)
    there = (x - _taken(y, to_y)).square().sum(-1).mean(1)
    back = (y - _taken(x, to_x)).square().sum(-1).mean(1)
    return there + back


@torch.no_grad()
def nearest_points(x: Tensor, y: Tensor, *, chunk: int = 512) -> tuple[Tensor, Tensor]:
    """The nearest point of y for each of x ``(B, N)``, and of x for each of y ``(B, M)``: int64."""
    _check(x, y, chunk)
    batch, m = y.shape[:2]
    to_y = []
    best = torch.full((batch, m), torch.inf, dtype=x.dtype, device=x.device)
    to_x = torch.zeros((batch, m), dtype=torch.int64, device=x.device)
    for start in range(0, x.shape[1], chunk):
        part = x[:, start : start + chunk]
        distances = torch.cdist(part, y, compute_mode="donot_use_mm_for_euclid_dist")
        to_y.append(distances.argmin(2))
        least, where = distances.min(1)
        nearer = least < best
        best = torch.where(nearer, least, best)
        to_x = torch.where(nearer, where + start, to_x)
    return torch.cat(to_y, 1), to_x


def _taken(cloud: Tensor, index: Tensor) -> Tensor:
    """The points of each cloud ``(B, M, D)`` with these numbers ``(B, K)``."""
    return cloud.gather(1, index[:, :, None].expand(-1, -1, cloud.shape[2]))


def _check(x: Tensor, y: Tensor, chunk: int) -> None:
    fits = x.ndim == 3 == y.ndim and x.shape[::2] == y.shape[::2]
    if not (fits and x.shape[1] and y.shape[1]):
        raise ShapeError(
            "Chamfer: x and y must have shapes (batch, points, D), with points and with one batch "
            f"and D, got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if chunk < 1:
        raise UsageError(f"Chamfer: chunk must be at least 1, got {chunk}.")
