"""Which weights an autoregressive network keeps. Plain Python: nothing here needs a tensor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal

from corekit.errors import ShapeError, UsageError

Order = Literal["sequential", "reversed", "random"]
Mask = list[list[bool]]
"""``(out, in)``: which weights are kept."""


def ranks(features: int, order: Order | Sequence[int], seed: int = 0) -> list[int]:
    """At which place each feature comes, counted from 0.

    Raises:
        UsageError: If there is no such order, or the places are not 0 … features - 1.
    """
    places = list(range(features))
    if order == "reversed":
        places.reverse()
    elif order == "random":
        random.Random(seed).shuffle(places)
    elif not isinstance(order, str):
        if sorted(order) != places:
            raise UsageError(
                f"Made: order must give each of {features} features a place from 0 to "
                f"{features - 1}, got {list(order)}."
            )
        places = list(order)
    elif order != "sequential":
        raise UsageError(
            f"Made: order must be sequential, reversed, random or a list of places, got {order!r}."
        )
    return places


def hidden_degrees(features: int, hidden: int, *, context: bool = False) -> list[int]:
    """Degrees of hidden units, as even as possible, unsorted.

    A unit of degree m sees the m features that come first. Without a context these are 1 to
    features - 1, since a unit that sees nothing is of use only where there is but one feature; with
    one from 0 on, so that the first feature depends on the context too.
    """
    least = 0 if context else min(1, features - 1)
    return [i % max(1, features - least) + least for i in range(hidden)]


def degree_mask(out: Sequence[int], into: Sequence[int], *, strict: bool) -> Mask:
    """A weight is kept if the degree in is at most, or below, that of the out."""
    return [[a < b if strict else a <= b for a in into] for b in out]


def adjacency_masks(
    adjacency: Sequence[Sequence[int]], hidden: Sequence[int], outputs: int
) -> list[Mask]:
    """Masks of a perceptron whose output groups see given inputs only.

    Args:
        adjacency: D rows of D zeros or ones: row i says which inputs output group i may see.
        hidden: Widths of the hidden layers.
        outputs: Rows per output group, one group's beside another's.

    Returns:
        One mask per layer. A unit stands for one of the different rows of the adjacency, and sees
        the units below whose inputs are among its own.

    Raises:
        ShapeError: If no output sees any input.
    """
    rows = [tuple(map(bool, row)) for row in adjacency]
    kinds = sorted(set(rows))
    seen: list[Sequence[bool]] = list(kinds)  # by each kind: which units of the layer below
    masks: list[Mask] = []
    for width in hidden:
        able = [kind for kind, row in enumerate(seen) if any(row)]
        if not able:
            raise ShapeError("Made: adjacency must let some feature see another, got none.")
        chosen = [able[i % len(able)] for i in range(width)]
        masks.append([list(seen[kind]) for kind in chosen])
        seen = [[_covers(kind, kinds[below]) for below in chosen] for kind in kinds]
    last = [list(seen[kinds.index(row)]) for row in rows]
    return [*masks, [row for row in last for _ in range(outputs)]]


def topological_ranks(adjacency: Sequence[Sequence[int]]) -> list[int]:
    """At which round each feature is known, if those that it sees must be known before.

    Raises:
        UsageError: If features see each other, or themselves, in a circle.
    """
    rank = [0] * len(adjacency)
    for _ in range(len(adjacency) + 1):
        before = rank
        rank = [
            max((before[i] + 1 for i, sees in enumerate(row) if sees), default=0)
            for row in adjacency
        ]
        if rank == before:
            return rank
    raise UsageError(
        "Made: adjacency must have no circle (no feature may see itself, however indirectly)."
    )


def _covers(larger: Sequence[bool], smaller: Sequence[bool]) -> bool:
    return all(a or not b for a, b in zip(larger, smaller, strict=True))
