"""Pictures of images: a grid, each image as large as it is, or a whole number of times larger."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.errors import UsageError

_INK = (60, 64, 72)
_CELL = 128  # pixels that a smaller image is enlarged to


def is_image(event_shape: Shape) -> bool:
    """Whether data of a shape are drawn as images: ``(1, 3 or 4 channels, height, width)``."""
    return len(event_shape) == 3 and event_shape[0] in (1, 3, 4)


def image_grid(
    images: Tensor,
    path: str | os.PathLike[str],
    captions: Sequence[str] | None = None,
    columns: int = 8,
    *,
    data: DataSpec | None = None,
) -> Path:
    """Draw images in rows and save a PNG; what is beyond the range of the data is cut off.

    Args:
        images: ``(S, C, H, W)``, C being 1 (grey), 3 (RGB) or 4 (RGB and alpha).
        path: Where to save; folders are made.
        captions: Below each image.
        columns: Images per row.
        data: What the data are, for the values of black and white: those of the lowest and the
            highest level, 0 and 1 on the unit interval, -1 and 1 where it does not say.
    """
    if images.ndim != 4 or not is_image(tuple(images.shape[1:])) or not len(images):
        raise UsageError(
            "Pictures: images must have shape (images, 1 or 3 or 4, height, width), "
            f"got {tuple(images.shape)}."
        )
    texts = list(captions) if captions is not None else [""] * len(images)
    if len(texts) != len(images):
        raise UsageError(
            f"Pictures: there must be a caption per image, got {len(texts)} for {len(images)}."
        )
    pixels = to_pixels(images, data)
    columns = min(columns, len(pixels))
    factor = max(1, _CELL // max(pixels.shape[1:3]))
    height, width = pixels.shape[1] * factor, pixels.shape[2] * factor
    gap, band = 4, 22 if any(texts) else 4
    size = (columns * (width + gap) + gap, -(-len(pixels) // columns) * (height + band) + gap)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for i, (picture, text) in enumerate(zip(pixels, texts, strict=True)):
        x, y = gap + i % columns * (width + gap), gap + i // columns * (height + band)
        large = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(large, (x, y), large if large.mode == "RGBA" else None)
        if text:
            pen.text((x + width / 2, y + height + 3), text, _INK, font, anchor="ma")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, format="PNG", optimize=True)
    return path


def image_pairs(
    top: Tensor, bottom: Tensor, path: str | os.PathLike[str], *, data: DataSpec | None = None
) -> Path:
    """Draw each image of ``top`` and, below it, its partner of ``bottom``."""
    columns = min(8, len(top))
    rows: list[Tensor] = []
    for start in range(0, len(top), columns):
        for part in (top, bottom):
            row = part[start : start + columns]
            blank = row.new_full((columns - len(row), *row.shape[1:]), _ends(data)[1])
            rows += [*row, *blank]
    return image_grid(torch.stack(rows), path, columns=columns, data=data)


def to_pixels(images: Tensor, data: DataSpec | None = None) -> np.ndarray:
    """Images as 8-bit pixels, rounded; NaN is black.

    Shape: ``(S, C, H, W)`` -> ``(S, H, W)`` where C is 1, else ``(S, H, W, C)``; uint8
    """
    low, high = _ends(data)
    share = (images.detach().cpu().double() - low) / (high - low)
    pixels = (share.nan_to_num(0.0).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _ends(data: DataSpec | None) -> tuple[float, float]:
    return (-1.0, 1.0) if data is None else data.black_and_white
