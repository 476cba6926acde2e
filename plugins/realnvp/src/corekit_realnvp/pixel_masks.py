"""Which weights a masked convolution keeps. Plain Python: nothing here needs a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

Kind = Literal["A", "B"]


def kernel_mask(
    into: Sequence[int], out: Sequence[int], size: int, kind: Kind
) -> list[list[list[list[bool]]]]:
    """``(out, in, size, size)``: what a convolution may see, pixels read row by row.

    All of the rows above and what is to the left; of the own pixel the groups before the own one,
    and for kind B the own group as well.

    Args:
        into: The group of each input channel.
        out: The group of each output channel.
        size: Height and width of the kernel.
        kind: "A" or "B".
    """
    middle = size // 2

    def seen(a: int, b: int, y: int, x: int) -> bool:
        if (y, x) != (middle, middle):
            return (y, x) < (middle, middle)
        return a < b or (kind == "B" and a == b)

    pixels = range(size)
    return [[[[seen(a, b, y, x) for x in pixels] for y in pixels] for a in into] for b in out]


def sizes_of(groups: Sequence[int]) -> list[int]:
    """How many channels each group has."""
    return [list(groups).count(group) for group in range(max(groups) + 1)]
