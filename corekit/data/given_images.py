"""Images that a user hands to a model: from a file of arrays, a file of one image, or a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from corekit.data.image_names import list_images
from corekit.data.pixels import read_pixels
from corekit.data_spec import DataSpec, Shape
from corekit.errors import DataError


def given_images(path: Path, shape: Shape, data: DataSpec) -> Tensor:
    """All images of a file or a folder, as a model has them: float32 ``(N, *shape)``.

    Pixels (image files, arrays of uint8) become the levels of the data, between -1 and 1 where
    these have none; other numbers are left as they are.

    Args:
        path: An image; a folder of images, in the order of their names; ``.npy`` or ``.npz``
            (``arr_0``, or its only array), ``(N, H, W, C)`` if uint8, else ``(N, C, H, W)``.
        shape: ``(C, H, W)`` of each.
        data: What the model's data are.

    Raises:
        DataError: If there is none, one cannot be read, or has another shape.
    """
    if path.suffix in (".npy", ".npz"):
        found = _array(path)
    else:
        names = list_images(path) if path.is_dir() else [""]
        if not names:
            raise DataError(f"{path}: must hold images, got none.")
        pixels = [read_pixels(path / name, None, shape[0]) for name in names]
        for name, one in zip(names, pixels, strict=True):
            if one.shape[:2] != tuple(shape[1:]):
                raise DataError(
                    f"{path / name}: must be {shape[1]} pixels high and {shape[2]} wide, got "
                    f"{one.shape[0]} and {one.shape[1]}."
                )
        found = np.stack(pixels)
    if found.dtype == np.uint8:
        low, high = data.black_and_white
        shares = (np.moveaxis(found, -1, 1) if found.ndim == 4 else found) / 255
        found = low + (high - low) * shares
    if found.ndim != 4 or found.shape[1:] != tuple(shape) or not len(found):
        raise DataError(
            f"{path}: images must be {(*shape[1:], shape[0])} in uint8 or {tuple(shape)} in "
            f"floating point, one behind the other, got an array {found.shape}."
        )
    return torch.from_numpy(found.astype(np.float32))


def _array(path: Path) -> np.ndarray:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded:
            names = loaded.files
            if "arr_0" not in names and len(names) != 1:
                raise DataError(
                    f"{path}: must have an array arr_0, or one alone, got {', '.join(names)}."
                )
            array: np.ndarray = loaded["arr_0" if "arr_0" in names else names[0]]
            return array
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
