"""Samples on their way from noise, as an animated GIF."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.report.images import image_grid, is_image
from corekit.report.pictures import point_cloud_grid

_FRAME, _REST = 60, 1500  # milliseconds: of a frame, and of the last one


def save_film(
    frames: Sequence[Tensor], path: str | os.PathLike[str], data: DataSpec | None = None
) -> Path:
    """Draw the same samples at several moments, one picture after another; it repeats.

    Clouds are drawn to the scale of their last moment, and what lies outside is cut off.

    Shape: each frame ``(S, C, H, W)`` images or ``(S, N, 3)`` clouds.

    Raises:
        UsageError: If the samples are neither, or there is no frame.
    """
    if not frames:
        raise UsageError("Film: there must be a frame, got none.")
    shape = tuple(frames[-1].shape[1:])
    if not is_image(shape) and not (len(shape) == 2 and shape[-1] == 3):
        raise UsageError(f"Film: samples must be images or clouds in space, got shape {shape}.")
    pictures = []
    with TemporaryDirectory() as folder:
        for number, frame in enumerate(frames):
            file = Path(folder) / f"{number}.png"
            if is_image(shape):
                image_grid(frame, file, data=data)
            else:
                point_cloud_grid(frame, file, cell=160, alike=frames[-1])
            with Image.open(file) as picture:
                pictures.append(picture.convert("P", palette=Image.Palette.ADAPTIVE))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [_FRAME] * (len(pictures) - 1) + [_REST]
    pictures[0].save(
        path, format="GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0
    )
    return path
