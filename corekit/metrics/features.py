"""Features of examples by a network that comes in a file."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from corekit.errors import DataError, ShapeError, UsageError


class Features:
    """A function of examples ``(N, ...)`` to features ``(N, F)``, float64.

    The file is a network exported by ``torch.export.save`` (``.pt2``, its batch of any size), or in
    TorchScript (``.pt``, as the Inception network of the customary FID is passed around). Without a
    file the examples themselves, flattened, are the features.

    Args:
        path: Of the file, or None.
        data_range: What black and white are in the data.
        network_range: What they are for the network.
        resize: Height and width that it wants, if others than those of the data; or None.
        batch: Examples at once.

    Raises:
        UsageError: If the file has another ending, or a range does not rise.
        DataError: If it cannot be read, or gives other than ``(N, F)`` finite numbers.
    """

    def __init__(
        self,
        path: str | None,
        *,
        data_range: Sequence[float] = (-1.0, 1.0),
        network_range: Sequence[float] = (-1.0, 1.0),
        resize: int | None = None,
        batch: int = 64,
    ) -> None:
        for name, (low, high) in (("data_range", data_range), ("network_range", network_range)):
            if not low < high:
                raise UsageError(f"fid: {name} must rise, got {low} and {high}.")
        self.path, self.resize, self.batch = path, resize, batch
        (a, b), (c, d) = data_range, network_range
        self.scale = (d - c) / (b - a)
        self.shift = c - a * self.scale
        self.network = None if path is None else _read(Path(path))
        self.name = "raw values" if path is None else _fingerprint(Path(path))

    @torch.no_grad()
    def __call__(self, x: Tensor) -> np.ndarray:
        """Features of x, ``(N, F)``."""
        if self.network is None:
            return x.flatten(1).double().numpy()
        parts = [self._of(self.network, part) for part in x.float().split(self.batch)]
        found = torch.cat(parts).double()
        if not bool(found.isfinite().all()):
            raise DataError(f"fid: features by '{self.path}' must be finite, got NaN or infinity.")
        return found.numpy()

    def _of(self, network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        x = x * self.scale + self.shift
        if self.resize is not None:
            if x.ndim != 4:
                raise ShapeError(f"fid: only images can be resized, got {tuple(x.shape)}.")
            size = (self.resize, self.resize)
            x = interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
        try:
            y = network(x)
        except Exception as error:
            raise DataError(
                f"fid: the network '{self.path}' must take batches of shape {tuple(x.shape)}, got "
                f"'{error}'. See resize, and export it with a batch of any size."
            ) from error
        if not isinstance(y, Tensor) or y.ndim != 2 or len(y) != len(x):
            got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise DataError(
                f"fid: the network '{self.path}' must give features ({len(x)}, F), got {got}."
            )
        return y


def _read(path: Path) -> Callable[[Tensor], Tensor]:
    if path.suffix not in (".pt2", ".pt"):
        raise UsageError(
            f"fid: the network must be a file .pt2 (torch.export.save) or .pt (TorchScript), got "
            f"'{path}'."
        )
    try:
        if path.suffix == ".pt2":
            exported: Callable[[Tensor], Tensor] = torch.export.load(str(path)).module()
            return exported
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            script: Callable[[Tensor], Tensor] = torch.jit.load(str(path), "cpu").eval()
            return script
    except Exception as error:
        raise DataError(f"fid: the network '{path}' cannot be read: {error}") from error


def _fingerprint(path: Path) -> str:
    """Its name, and the beginning of the hash of its content."""
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
