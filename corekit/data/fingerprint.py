"""What identifies files: how many, how large, and a hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

MOST_BYTES = 4 * 2**30
"""Of larger sets the names and sizes are hashed, not the contents: seconds, not many minutes."""


def fingerprint(root: Path, files: Sequence[str]) -> dict[str, object]:
    """Number, total size and hash of files below a folder, or of one file; never fails.

    ``sha256`` of one file is that of its bytes, as ``sha256sum`` prints it; of several it is taken
    over a line ``<sha256>  <name>`` for each, in the order of names. More than `MOST_BYTES` give
    ``listing_sha256`` instead, over lines ``<size>  <name>``.

    Args:
        root: The folder.
        files: Names below it.
    """
    try:
        names = sorted(files)
        sizes = [(root / name).stat().st_size for name in names]
        facts: dict[str, object] = {"files": len(names), "bytes": sum(sizes)}
        if sum(sizes) > MOST_BYTES:
            lines = (f"{size}  {name}\n" for size, name in zip(sizes, names, strict=True))
            return {**facts, "listing_sha256": _digest(lines)}
        if len(names) == 1:
            return {**facts, "sha256": file_sha256(root / names[0])}
        return {**facts, "sha256": _digest(f"{file_sha256(root / n)}  {n}\n" for n in names)}
    except OSError as error:  # a checkpoint is worth more than what it says of its data
        return {"sha256": None, "unreadable": str(error)}


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, read in pieces; not read again while its size and date stay the same."""
    facts = os.stat(path)
    return _file_sha256(os.fspath(path), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _file_sha256(path: str, size: int, changed: int) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def _digest(lines: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()
