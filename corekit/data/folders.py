"""What lies in a folder."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path


def list_files(root: Path, suffixes: Collection[str]) -> list[str]:
    """Files below a folder whose names end so, as paths relative to it with "/".

    In the order of improved-diffusion: by name, what is in a folder in the folder's place. Hidden
    files and folders are left out. Links are followed, but none back to a folder that it is in.

    Args:
        root: The folder.
        suffixes: In lower case, with the dot; a name may have them in any case.
    """
    found: list[str] = []
    _list_into(root, "", suffixes, found, (os.path.realpath(root),))
    return found


def _list_into(
    root: Path, below: str, suffixes: Collection[str], found: list[str], above: tuple[str, ...]
) -> None:
    with os.scandir(root / below) as entries:
        members = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    for entry in members:
        name = f"{below}{entry.name}"
        if entry.is_dir():
            real = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if real not in above:
                _list_into(root, f"{name}/", suffixes, found, (*above, real))
        elif os.path.splitext(entry.name)[1].lower() in suffixes:
            found.append(name)


def licence_file(root: Path) -> str | None:
    """The first line of a licence file in the folder."""
    for file in sorted(root.glob("LICEN[CS]E*")):
        with open(file, encoding="utf-8", errors="replace") as lines:
            return f"{file.name}: {next(iter(lines), '').strip()}"
    return None
