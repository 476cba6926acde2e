"""Which examples are held out, where the data do not say."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from corekit.errors import UsageError

SPLITS = ("train", "val", "test")
SYNONYMS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""How files and folders call the splits."""

SPLIT_OF = {word: split for split, words in SYNONYMS.items() for word in words}


def held_out(total: int, share: float) -> int:
    """How many examples make a share; at least one, as long as more than that are left.

    Raises:
        UsageError: The share is not at least 0 and below one half.
    """
    if not 0 <= share < 0.5:
        raise UsageError(f"held_out: must be at least 0 and below 0.5, got {share}.")
    return min(max(1, round(total * share)), max(0, (total - 1) // 2)) if share else 0


def split_rows(total: int, share: float, parts: Sequence[str]) -> dict[str, np.ndarray]:
    """Row numbers of "train" and, of a random share each, of other splits; in order.

    The same for the same number of rows, on every machine.
    """
    count = held_out(total, share)
    order = np.random.default_rng(total).permutation(total)
    found = {part: np.sort(order[i * count : (i + 1) * count]) for i, part in enumerate(parts)}
    found["train"] = np.sort(order[len(parts) * count :])
    return {split: found[split] for split in SPLITS if split in found and len(found[split])}


def split_names(names: Sequence[str], share: float, parts: Sequence[str]) -> dict[str, list[str]]:
    """The same for files: those with the smallest hashes of their names, in order.

    A file that is added moves few others from one split to another.
    """
    count = held_out(len(names), share)
    ranked = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="replace")).digest())
    place = {name: part for i, part in enumerate(parts) for name in ranked[i * count :][:count]}
    found: dict[str, list[str]] = {split: [] for split in SPLITS}
    for name in names:
        found[place.get(name, "train")].append(name)
    return {split: members for split, members in found.items() if members}
