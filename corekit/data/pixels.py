"""From an image file to 8-bit pixels of one size, and from pixels to numbers."""

from __future__ import annotations

import os

import numpy as np
from PIL import Image, ImageOps

from corekit.errors import DataError, UsageError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_AVERAGED = frozenset(("L", "LA", "RGB", "RGBA"))  # modes that Pillow can resize by averaging


def read_pixels(
    path: str | os.PathLike[str], size: int | None = None, channels: int = 3
) -> np.ndarray:
    """An image file as 8-bit pixels, upright, resized and cropped.

    Differs from improved-diffusion in three ways: an image is turned as its EXIF data say; a
    palette is resolved before resizing, which otherwise takes the nearest pixel; 16-bit images are
    refused, where Pillow would clip them.

    Shape: ``(size, size, channels)``, or ``(height, width, channels)`` as stored; uint8
    Raises: DataError if the file cannot be read as an image of 8 bits per channel.
    """
    try:
        with Image.open(path) as image:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        words = str(error) or type(error).__name__
        raise DataError(
            f"{os.fspath(path)}: must be an image that can be read, but: {words}. "
            "Repair the file or remove it."
        ) from error
    if image.mode.startswith(("I", "F")):
        raise DataError(
            f"{os.fspath(path)}: must be an image of 8 bits per channel, got mode '{image.mode}'. "
            "Convert it to 8 bits."
        )
    if image.mode not in _AVERAGED:
        image = image.convert("RGBA" if image.mode in ("PA", "P") and _clear(image) else "RGB")
    if size is not None:
        image = resize_and_crop(image, size)
    mode = MODES[channels]
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels if channels > 1 else pixels[:, :, None]


def _clear(image: Image.Image) -> bool:
    """Whether a palette image has transparent pixels."""
    return image.mode == "PA" or "transparency" in image.info


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """The middle square of an image, its shorter side brought to a size.

    It is halved by averages of 2 x 2 while it is at least twice as large, then interpolated.

    Source: openai/improved-diffusion, improved_diffusion/image_datasets.py
    """
    while min(image.size) >= 2 * size:
        half = (image.width // 2, image.height // 2)
        image = image.resize(half, Image.Resampling.BOX)
    scale = size / min(image.size)
    rest = (round(image.width * scale), round(image.height * scale))
    image = image.resize(rest, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return image.crop((left, top, left + size, top + size))


def level_values(value_range: tuple[float, float], bits: int = 8) -> np.ndarray:
    """The value of each of 256 levels: level 0 is the low end of the range, 255 the high end.

    With fewer bits the lower ones are dropped: 2^bits levels remain, the first and the last of them
    at the ends of the range.

    Shape: float32 ``(256,)``
    Raises: UsageError unless the range has a low end below its high end, and bits are 1 to 8.
    """
    low, high = value_range
    if not low < high:
        raise UsageError(f"value_range: must be low, then high, got {low} and {high}.")
    if not 1 <= bits <= 8:
        raise UsageError(f"bits: must be 1 to 8, got {bits}.")
    kept = np.arange(256) >> (8 - bits)
    return (low + (high - low) * kept / (2**bits - 1)).astype(np.float32)
