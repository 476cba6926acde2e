"""The names of the meshes below a folder: their classes and splits."""

from __future__ import annotations

from pathlib import Path

from corekit.data.folders import list_files
from corekit.data.splitting import SPLIT_OF, SPLITS, split_names
from corekit.errors import DataError

SUFFIXES = (".off", ".obj", ".ply", ".stl")
LAYOUT = """\
meshes (.off, .obj, .ply, .stl) in one of these layouts:
  FOLDER/<class>/<train|val|test>/**/shape.off     as the folders say
  FOLDER/<train|val|test>/[<class>/]**/shape.off   as the folders say
  FOLDER/[<class>/]**/shape.off                    a share of each class is held out"""

Names = dict[str, dict[str, list[str]]]
"""Files by class and split."""


def find_meshes(root: Path, share: float) -> Names:
    """Names of mesh files by class and split, in order; without classes, that of the folder.

    Where a class has no splits, ``share`` of it is taken for "val", and as much for "test"; where
    "val" alone is missing, it is taken from "train".

    Raises: DataError if there is no such folder, no mesh in it, or a class with meshes both in
        folders of splits and outside of them.
    """
    if not root.is_dir():
        raise DataError(f"{root}: must be a folder of {LAYOUT}\nFound no folder.")
    names = list_files(root, SUFFIXES)
    if not names:
        there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise DataError(f"{root}: must hold {LAYOUT}\nFound no mesh, but: {there}.")
    tops = {name.split("/")[0] if "/" in name else "" for name in names}
    splits_first = "train" in {SPLIT_OF.get(top) for top in tops} and tops <= SPLIT_OF.keys()
    found: Names = {}
    for name in names:
        folders = name.split("/")[:-1]
        split = ""
        if splits_first:
            split = SPLIT_OF[folders.pop(0)]
        elif len(folders) > 1:
            split = SPLIT_OF.get(folders[1], "")
        group = folders[0] if folders else root.resolve().name
        found.setdefault(group, {}).setdefault(split, []).append(name)
    return {group: _whole(root, group, found[group], share) for group in sorted(found)}


def _whole(
    root: Path, group: str, parts: dict[str, list[str]], share: float
) -> dict[str, list[str]]:
    """The parts of a class with those that are held out."""
    if "" in parts and len(parts) > 1:
        splits = ", ".join(sorted(parts.keys() - {""}))
        raise DataError(
            f"{root}: all meshes of class '{group}' must be in folders of splits, or none, got "
            f"{splits} and {parts[''][0]} outside of them. Move it."
        )
    if "" in parts:
        return split_names(parts[""], share, ("val", "test"))
    if "train" in parts and "val" not in parts:
        parts = parts | split_names(parts["train"], share, ("val",))
    return {split: parts[split] for split in SPLITS if split in parts}
