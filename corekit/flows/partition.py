"""Which elements of an event a coupling keeps, and which it moves."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError

Split = Literal["halves", "interleaved", "checkerboard", "rows", "columns"]
SPLITS: tuple[Split, ...] = ("halves", "interleaved", "checkerboard", "rows", "columns")


def partition(
    event_shape: Shape, split: Split | Sequence[int], *, swap: bool
) -> "Halves | Interleaved | Masked | Chosen":
    """How an event is divided.

    ============  ======================================  ========================================
    split         kept (the others move)                  for
    ============  ======================================  ========================================
    halves        the first ceil(D / 2) features          vectors, channels of images
    interleaved   features 0, 2, 4, …                     vectors, channels of images
    a list        the features that it names              vectors, channels of images
    checkerboard  pixels whose row + column is even       images ``(C, H, W)``
    rows          the upper ceil(H / 2) rows              images; a poor choice, for comparison
    columns       the left ceil(W / 2) columns            images; a poor choice, for comparison
    ============  ======================================  ========================================

    Args:
        event_shape: Shape of x without the batch.
        split: Which.
        swap: Move what would be kept, and keep the rest.

    Raises:
        UsageError: If there is no such split.
        ShapeError: If it does not divide an event of this shape.
    """
    if not isinstance(split, str):
        return Chosen(event_shape, split, swap=swap)
    if split not in SPLITS:
        raise UsageError(
            f"coupling: split must be a list of features or one of {', '.join(SPLITS)}, got "
            f"{split!r}."
        )
    if split in ("halves", "interleaved"):
        if not event_shape or event_shape[0] < 2:
            raise ShapeError(
                f"coupling: the split '{split}' must have at least 2 features or channels to "
                f"divide, got the event shape {tuple(event_shape)}."
            )
        kind = Halves if split == "halves" else Interleaved
        return kind(event_shape, swap=swap)
    return Masked(event_shape, split, swap=swap)


class Halves(nn.Module):
    """The first ceil(D / 2) features or channels, and the rest."""

    def __init__(self, event_shape: Shape, *, swap: bool = False) -> None:
        super().__init__()
        features, rest = event_shape[0], tuple(event_shape[1:])
        self.sizes = ((features + 1) // 2, features // 2)
        kept, moved = self.sizes[::-1] if swap else self.sizes
        self.swap, self.kept_shape, self.moved_shape = swap, (kept, *rest), (moved, *rest)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(kept, moved)."""
        a, b = x.split(self.sizes, dim=1)
        return (b, a) if self.swap else (a, b)

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """The event of two parts."""
        return torch.cat((moved, kept) if self.swap else (kept, moved), dim=1)

    def total(self, log_slope: Tensor) -> Tensor:
        """The sum over what moved, ``(B,)``."""
        return log_slope.flatten(1).sum(1)


class Interleaved(Halves):
    """Every other feature or channel, and those between."""

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(kept, moved)."""
        a, b = x[:, ::2], x[:, 1::2]
        return (b, a) if self.swap else (a, b)

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """The event of two parts."""
        a, b = (moved, kept) if self.swap else (kept, moved)
        pairs = torch.stack((a[:, : b.shape[1]], b), dim=2).flatten(1, 2)
        return pairs if a.shape[1] == b.shape[1] else torch.cat((pairs, a[:, -1:]), dim=1)


class Chosen(nn.Module):
    """The features or channels that a list names, and the others in their order."""

    kept: Tensor
    moved: Tensor
    back: Tensor

    def __init__(self, event_shape: Shape, kept: Sequence[int], *, swap: bool = False) -> None:
        super().__init__()
        features, rest = event_shape[0] if event_shape else 0, tuple(event_shape[1:])
        others = [i for i in range(features) if i not in kept]
        if not kept or not others or sorted((*kept, *others)) != list(range(features)):
            raise ShapeError(
                "coupling: a list of what is kept must name some, not all, of the features or "
                f"channels, each once, got {list(kept)} for the event shape {tuple(event_shape)}."
            )
        stay, move = (others, list(kept)) if swap else (list(kept), others)
        self.kept_shape, self.moved_shape = (len(stay), *rest), (len(move), *rest)
        both = stay + move
        back = sorted(range(features), key=both.__getitem__)
        for name, index in (("kept", stay), ("moved", move), ("back", back)):
            self.register_buffer(name, torch.tensor(index), persistent=False)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(kept, moved)."""
        return x.index_select(1, self.kept), x.index_select(1, self.moved)

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """The event of two parts."""
        return torch.cat((kept, moved), dim=1).index_select(1, self.back)

    def total(self, log_slope: Tensor) -> Tensor:
        """The sum over what moved, ``(B,)``."""
        return log_slope.flatten(1).sum(1)


class Masked(nn.Module):
    """A mask over the pixels of an image: both parts have the shape of the whole."""

    mask: Tensor

    def __init__(self, event_shape: Shape, split: Split, *, swap: bool = False) -> None:
        super().__init__()
        divides = {"rows": event_shape[1:2], "columns": event_shape[2:3]}
        if len(event_shape) != 3 or math.prod(divides.get(split, event_shape[1:])) < 2:
            raise ShapeError(
                f"coupling: the split '{split}' must have an image (channels, height, width) with "
                f"something to divide, got the event shape {tuple(event_shape)}."
            )
        _, height, width = event_shape
        row, column = torch.arange(height)[:, None], torch.arange(width)[None, :]
        masks = {
            "checkerboard": (row + column) % 2 == 0,
            "rows": (row < (height + 1) // 2).expand(height, width),
            "columns": (column < (width + 1) // 2).expand(height, width),
        }
        kept = ~masks[split] if swap else masks[split]
        self.kept_shape = self.moved_shape = tuple(event_shape)
        self.register_buffer("mask", kept.contiguous(), persistent=False)  # True: kept

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(x where it is kept and 0 elsewhere, x)."""
        return x.masked_fill(~self.mask, 0), x

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """The event of two parts."""
        return torch.where(self.mask, kept, moved)

    def total(self, log_slope: Tensor) -> Tensor:
        """The sum over what moved, ``(B,)``."""
        return log_slope.masked_fill(self.mask, 0).flatten(1).sum(1)
