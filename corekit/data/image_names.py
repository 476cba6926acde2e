"""The names of the images below a folder: their order, splits and classes."""

from __future__ import annotations

from pathlib import Path

from corekit.data.folders import list_files
from corekit.data.splitting import SPLIT_OF, SPLITS, split_names
from corekit.errors import DataError

SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
LAYOUT = """\
images (.png, .jpg, …) in one of these layouts:
  FOLDER/**/image.png                              a share is held out
  FOLDER/<train|val|test>/**/image.png             as the folders say
with the class, where there is one, in the name of a folder or before the first "_":
  FOLDER/[<split>/]<class>/**/image.png            labels: folder
  FOLDER/[<split>/]**/<class>_anything.png         labels: prefix"""


def list_images(root: Path) -> list[str]:
    """Image files below a folder: `list_files`."""
    return list_files(root, SUFFIXES)


def find_splits(root: Path, share: float) -> tuple[dict[str, list[str]], int]:
    """Names by split, and how many folders of a name are the split's.

    Raises: DataError if there is no such folder, or no image in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: must be a folder of {LAYOUT}\nFound no folder.")
    names = list_images(root)
    if not names:
        there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        raise DataError(f"{root}: must hold {LAYOUT}\nFound no image, but: {there}.")
    by_split: dict[str, list[str]] = {}
    for name in names:
        top, slash, _ = name.partition("/")
        by_split.setdefault(SPLIT_OF.get(top, "") if slash else "", []).append(name)
    others = by_split.pop("", [])
    if "train" not in by_split or (len(by_split) == 1 and others):  # "train" may be a class
        return split_names(names, share, ("val", "test")), 0
    if "val" not in by_split:
        by_split.update(split_names(by_split["train"], share, ("val",)))
    return {split: by_split[split] for split in SPLITS if split in by_split}, 1


def class_of(root: Path, name: str, labels: str | None, below: int) -> str:
    """The class of an image, below so many folders that are not part of it.

    Raises: DataError if its name has none.
    """
    *folders, file = name.split("/")[below:]
    if labels == "prefix":
        prefix, underscore, _ = file.partition("_")
        if not underscore:  # the reference would make a class of every such file
            raise DataError(
                f"{root / name}: the name must be <class>_anything, with labels: prefix, got no "
                '"_". Rename it, or set `labels: folder`.'
            )
        return prefix
    if not folders:
        raise DataError(
            f"{root / name}: must be in a folder that names its class, with labels: folder. "
            "Move it, or set `labels: prefix`."
        )
    return folders[0]
