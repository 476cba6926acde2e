"""Pictures of point clouds: every point a small lit ball, seen from above and to one side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from corekit.errors import UsageError

Cloud = np.ndarray | Tensor

_INK = (60, 64, 72)
_NEAR = np.array([38, 92, 168.0])  # colours of the nearest and the farthest point
_FAR = np.array([170, 205, 226.0])
_LIGHT = np.array([-0.45, 0.75, 0.5]) / np.linalg.norm([-0.45, 0.75, 0.5])  # right, up, to the eye
_FINER = 2  # drawn this much larger, then averaged down


def point_cloud_grid(
    clouds: Sequence[Cloud] | Tensor,
    path: str | os.PathLike[str],
    captions: Sequence[str] | None = None,
    columns: int = 4,
    *,
    cell: int = 256,
    alike: Sequence[Cloud] | Tensor | None = None,
) -> Path:
    """Draw clouds in rows, each to its own scale, and save a PNG.

    Args:
        clouds: Each ``(N, 3)``, y up. Points that are not finite are left out.
        path: Where to save; folders are made.
        captions: Below each cloud.
        columns: Clouds per row.
        cell: Width of one cloud in pixels.
        alike: Clouds to whose scales they are drawn instead.
    """
    arrays = _checked(clouds)
    texts = list(captions) if captions is not None else [""] * len(arrays)
    if len(texts) != len(arrays):
        raise UsageError(
            f"Pictures: there must be a caption per cloud, got {len(texts)} for {len(arrays)}."
        )
    frames = [_frame(a) for a in (arrays if alike is None else _checked(alike))]
    pictures = [_draw(a, *frame, cell) for a, frame in zip(arrays, frames, strict=True)]
    return _save(_tile(pictures, texts, min(columns, len(pictures)), cell), path)


def pairs_grid(
    top: Sequence[Cloud] | Tensor,
    bottom: Sequence[Cloud] | Tensor,
    path: str | os.PathLike[str],
    captions: tuple[str, str] = ("original", "reconstruction"),
    columns: int = 4,
    *,
    cell: int = 256,
) -> Path:
    """Draw each cloud of ``top`` and, below it at the same scale, its partner of ``bottom``."""
    above, below = _checked(top), _checked(bottom)
    if len(above) != len(below):
        raise UsageError(
            f"Pictures: pairs must be complete, got {len(above)} and {len(below)} clouds."
        )
    frames = [_frame(a) for a in above]
    columns = min(columns, len(above))
    pictures: list[np.ndarray] = []
    texts: list[str] = []
    blank = np.full((cell, cell, 3), 255, np.uint8)
    for start in range(0, len(above), columns):
        for row, text in ((above, captions[0]), (below, captions[1])):
            part = range(start, min(start + columns, len(above)))
            drawn = [_draw(row[i], *frames[i], cell) for i in part]
            pad = columns - len(drawn)
            pictures += [*drawn, *[blank] * pad]
            texts += [text] * len(drawn) + [""] * pad
    return _save(_tile(pictures, texts, columns, cell), path)


def _checked(clouds: Sequence[Cloud] | Tensor) -> list[np.ndarray]:
    arrays = []
    for i, cloud in enumerate(clouds):
        array = (
            cloud.detach().cpu().double().numpy()
            if isinstance(cloud, Tensor)
            else np.asarray(cloud)
        )
        if array.ndim != 2 or array.shape[1] != 3:
            raise UsageError(f"Pictures: cloud {i} must have shape (points, 3), got {array.shape}.")
        arrays.append(array[np.isfinite(array).all(1)].astype(np.float64))
    if not arrays:
        raise UsageError("Pictures: there must be a cloud to draw, got none.")
    return arrays


def _view(azimuth: float = 40.0, elevation: float = 28.0) -> np.ndarray:
    """Rows: right, up, towards the eye, in the coordinates of the cloud (+x: right and near)."""
    a, e = np.radians(azimuth), np.radians(elevation)
    eye = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    right = np.cross([0.0, 1.0, 0.0], eye)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(eye, right), eye])


_VIEW = _view()


def _frame(cloud: np.ndarray) -> tuple[np.ndarray, float]:
    """Middle and half size, as seen, of what the picture shows: all but far outliers."""
    if not len(cloud):
        return np.zeros(3), 1.0
    seen = cloud @ _VIEW.T
    low, high = np.quantile(seen, [0.005, 0.995], axis=0)
    margin = 0.25 * (high - low)  # thin legs hold few points, and are part of the shape
    inside = np.clip(seen, low - margin, high + margin)
    low, high = inside.min(0), inside.max(0)
    return (low + high) / 2, max(float((high - low)[:2].max()) / 2, 1e-12)


def _draw(cloud: np.ndarray, middle: np.ndarray, half: float, cell: int) -> np.ndarray:
    """One cloud as an image ``(cell, cell, 3)``, uint8."""
    size = cell * _FINER
    image = np.full((size * size, 3), 255.0)
    if len(cloud):
        radius = size * np.clip(0.42 / len(cloud) ** 0.5, 0.006, 0.02)
        seen = (cloud @ _VIEW.T - middle) / half * (0.46 * size - radius)
        _splat(image, seen, radius, size)
    picture = Image.fromarray(image.reshape(size, size, 3).round().astype(np.uint8))
    return np.asarray(picture.resize((cell, cell), Image.Resampling.BOX))


def _splat(image: np.ndarray, seen: np.ndarray, radius: float, size: int) -> None:
    """Draw balls ``(N, 3)`` (right, up, to the eye; pixels about the middle), nearest on top."""
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1)
    inside = dx**2 + dy**2 <= radius**2
    dx, dy = dx[inside], dy[inside]
    height = np.sqrt(radius**2 - dx**2 - dy**2)  # of the ball above its middle, (K,)

    depth = seen[:, 2]
    far, near = np.quantile(depth, [0.02, 0.98]) if len(depth) > 1 else (0.0, 1.0)
    nearness = np.clip((depth - far) / max(near - far, 1e-12), 0, 1)[:, None]
    colour = _FAR + nearness * (_NEAR - _FAR)  # (N, 3)
    normal = np.stack([dx, dy, height], 1) / radius
    light = 0.62 + 0.55 * np.clip(normal @ _LIGHT, 0, None)  # (K,)

    column = np.round(seen[:, :1] + size / 2).astype(int) + dx  # (N, K)
    row = np.round(size / 2 - seen[:, 1:2]).astype(int) - dy
    level = depth[:, None] + height
    shades = np.clip(colour[:, None] * light[:, None], 0, 255)  # (N, K, 3)
    shown = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    order = np.argsort(level[shown])  # the last written stays
    pixel = (row * size + column)[shown][order]
    image[pixel] = shades[shown][order]


def _tile(
    pictures: Sequence[np.ndarray], texts: Sequence[str], columns: int, cell: int
) -> Image.Image:
    """Pictures in rows, a caption below each."""
    band = 26 if any(texts) else 8
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell, rows * (cell + band)), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for i, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        x, y = i % columns * cell, i // columns * (cell + band)
        sheet.paste(Image.fromarray(picture), (x, y))
        if text:
            pen.text((x + cell / 2, y + cell + 4), text, _INK, font, anchor="ma")
    return sheet


def _save(sheet: Image.Image, path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)
    return path
