"""Pictures of points in the plane."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corekit.errors import UsageError

Points = np.ndarray | Tensor

_INK = "#265ca8"
_CELLS = 160  # of a density, along each axis


def scatter(
    panels: Mapping[str, Points],
    path: str | os.PathLike[str],
    *,
    log_density: Callable[[Tensor], Tensor] | None = None,
    size: float = 4.5,
) -> Path:
    """Draw sets of points side by side, on the same axes with equal units, and save a PNG.

    The axes hold all but far outliers, and points that are not finite are left out; the title
    says how many points are not shown.

    Args:
        panels: Title -> points ``(N, 2)``; the axes are those of the first panel's points.
        path: Where to save; folders are made.
        log_density: log p of points ``(N, 2)``, float32, as ``(N,)``: p is drawn as one more panel
            on the same axes, the more ink the denser.
        size: Width of a panel in inches, at 120 pixels each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    arrays = {title: _checked(title, points) for title, points in panels.items()}
    if not arrays:
        raise UsageError("Scatter: there must be points to draw, got none.")
    middle, half = _frame(next(iter(arrays.values())))
    count = len(arrays) + (log_density is not None)
    figure = Figure(figsize=(size * count, size), dpi=120, layout="compressed")
    FigureCanvasAgg(figure)
    every = figure.subplots(1, count, squeeze=False)[0]
    for axes, (title, points) in zip(every, arrays.items(), strict=False):
        shown = points[(np.abs(points - middle) <= half).all(1)]
        # Few points are seen one by one; of many, the density of the ink is what is seen.
        axes.scatter(*shown.T, s=_area(len(shown)), c=_INK, alpha=0.6, linewidths=0)
        axes.set(xlim=_range(middle[0], half), ylim=_range(middle[1], half), aspect="equal")
        hidden = len(points) - len(shown)
        axes.set_title(f"{title} ({hidden} not shown)" if hidden else title, fontsize=10)
        axes.tick_params(labelsize=8)
    if log_density is not None:
        _draw_density(every[-1], log_density, middle, half)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png")
    return path


def _draw_density(
    axes: Any, log_density: Callable[[Tensor], Tensor], middle: np.ndarray, half: float
) -> None:
    """p at the middles of square cells; cells where it is not finite stay white."""
    from matplotlib.colors import LinearSegmentedColormap

    inside = (np.arange(_CELLS) + 0.5) / _CELLS * 2 - 1
    across, up = np.meshgrid(middle[0] + half * inside, middle[1] + half * inside)
    points = torch.from_numpy(np.stack([across.ravel(), up.ravel()], 1)).float()
    log_p = log_density(points).detach().cpu().double().numpy()
    finite = np.isfinite(log_p)
    p = np.exp(log_p - log_p[finite].max(initial=-np.inf), where=finite, out=np.zeros(len(log_p)))
    (left, right), (low, high) = _range(middle[0], half), _range(middle[1], half)
    axes.imshow(
        p.reshape(_CELLS, _CELLS),
        cmap=LinearSegmentedColormap.from_list("ink", ["white", _INK]),
        vmin=0,
        vmax=max(float(np.quantile(p, 0.995)), 1e-12),  # a peak does not hide the rest
        extent=(left, right, low, high),
        origin="lower",
        aspect="equal",
    )
    axes.set_title("density", fontsize=10)
    axes.tick_params(labelsize=8)


def _checked(title: str, points: Points) -> np.ndarray:
    array = points.detach().cpu().numpy() if isinstance(points, Tensor) else np.asarray(points)
    if array.ndim != 2 or array.shape[1] != 2:
        raise UsageError(f"Scatter: '{title}' must have shape (points, 2), got {array.shape}.")
    return array.astype(np.float64)


def _frame(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and half width of the square that holds all but far outliers, with a margin."""
    finite = points[np.isfinite(points).all(1)]
    if not len(finite):
        return np.zeros(2), 1.0
    low, high = np.quantile(finite, [0.005, 0.995], axis=0)
    reach = 0.25 * (high - low).max()
    inside = finite[((finite >= low - reach) & (finite <= high + reach)).all(1)]
    low, high = inside.min(0), inside.max(0)
    return (low + high) / 2, max(0.525 * float((high - low).max()), 1e-6)


def _area(count: int) -> float:
    """Area of a dot in square points."""
    return float(np.clip(6000 / max(count, 1), 1.5, 30))


def _range(middle: float, half: float) -> tuple[float, float]:
    return middle - half, middle + half
