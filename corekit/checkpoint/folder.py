"""The checkpoint folder: written beside and renamed, checked by SHA-256, never a pickle."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from corekit.checkpoint.tree import pack, unpack
from corekit.errors import CheckpointError

SUMS = "SHA256SUMS"
FORMAT = 1
STAGES = "stages"
"""The folder of a run that holds the runs of its stages, `NUMBER-NAME`."""


def write(folder: Path, trees: Mapping[str, Any], texts: Mapping[str, str]) -> Path:
    """Write trees (``NAME.safetensors`` + ``NAME.json``) and texts as one folder, atomically.

    The folder is complete or not there: it is written under another name, flushed to disk, and
    renamed. An older folder of the same name is replaced.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, tree in trees.items():
            tensors, skeleton = pack(tree)
            save_file(tensors, str(partial / f"{name}.safetensors"), {"format": "pt"})
            (partial / f"{name}.json").write_text(json.dumps({"format": FORMAT, "tree": skeleton}))
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        sums = [f"{sha256(file)}  {file.name}" for file in sorted(partial.iterdir())]
        (partial / SUMS).write_text("\n".join(sums) + "\n")
        for file in partial.iterdir():
            _flush(file)
        _flush(partial)
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
            os.replace(folder, old)
            os.replace(partial, folder)
            shutil.rmtree(old)
        else:
            os.replace(partial, folder)
        _flush(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def read(folder: Path, name: str) -> Any:
    """One tree of a checkpoint.

    Raises:
        CheckpointError: If a file is not there, truncated or of another format.
    """
    try:
        tensors = load_file(str(folder / f"{name}.safetensors"))
        described = json.loads((folder / f"{name}.json").read_text())
        if described["format"] != FORMAT:
            raise CheckpointError(
                f"{folder / name}.json: format must be {FORMAT}, got {described['format']}. "
                "It was written by another version of corekit."
            )
        return unpack(tensors, described["tree"])
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{folder}: a checkpoint must have {name}.safetensors and .json, got {error}."
        ) from error
    except (SafetensorError, json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{folder / name}: the file is truncated or damaged ({error})."
        ) from error


def verify(folder: Path) -> None:
    """Compare every file with SHA256SUMS.

    Raises:
        CheckpointError: If a file is missing or differs.
    """
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{folder}: a checkpoint must have {SUMS}, got none. "
            "Give a run folder or one of its checkpoints."
        ) from error
    for line in lines:
        digest, _, name = line.partition("  ")
        file = folder / name
        if not file.is_file():
            raise CheckpointError(
                f"{folder}: {name} must be there, got no such file. Use another checkpoint."
            )
        if sha256(file) != digest:
            raise CheckpointError(
                f"{file}: the contents must match {SUMS}, got another checksum "
                f"({file.stat().st_size} bytes): the file is truncated or damaged. "
                "Use an earlier checkpoint."
            )


def find(path: str | Path) -> Path:
    """The checkpoint folder of a path: a checkpoint, or the latest one of a run folder.

    Of a run with stages it is the latest one of the last stage that has any.

    Raises:
        CheckpointError: If there is none, or the path is a file (a pickle, say).
    """
    path = Path(path)
    if path.is_file():
        raise CheckpointError(
            f"{path}: a checkpoint must be a folder of safetensors and JSON, got a file. "
            "corekit does not open pickles, which run code. "
            "For weights of another code base: corekit import IMPORTER FILE."
        )
    if (path / SUMS).exists():
        return path
    runs = [path, *stage_folders(path)]
    found = next(filter(None, map(steps, reversed(runs))), [])
    if not found:
        raise CheckpointError(
            f"{path}: must be a run folder or a checkpoint, got "
            f"{'a folder without checkpoints' if path.is_dir() else 'no such folder'}."
        )
    return found[-1]


def steps(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    folders = [p for p in (run / "checkpoints").glob("step-*") if (p / SUMS).exists()]
    return sorted(folders, key=step_of)


def stage_folders(run: Path) -> list[Path]:
    """The run folders of the stages of a run, in their order."""
    numbered = [p for p in (run / STAGES).glob("*-*") if p.name.partition("-")[0].isdigit()]
    return sorted(numbered, key=lambda p: int(p.name.partition("-")[0]))


def step_of(folder: Path) -> int:
    """The step of a checkpoint, from its name."""
    return int(folder.name.removeprefix("step-"))


def prune(run: Path, keep: int, best: int | None = None) -> None:
    """Delete all but the last ``keep`` checkpoints and that of the best step.

    ``checkpoints/best`` points to the best one, where a step is given and its checkpoint is there.
    """
    found = steps(run)
    named = [folder for folder in found if step_of(folder) == best]
    for folder in found[:-keep]:
        if folder not in named:
            # Renamed first: half a checkpoint never bears the name of a whole one.
            doomed = folder.with_name(f".{folder.name}.deleted-{os.getpid()}")
            os.replace(folder, doomed)
            shutil.rmtree(doomed)
    for folder in named:
        link = folder.with_name(f".best-{os.getpid()}")
        with suppress(OSError):  # a file system without links
            link.unlink(missing_ok=True)
            link.symlink_to(folder.name)
            os.replace(link, folder.with_name("best"))


def set_aside(run: Path, step: int) -> list[Path]:
    """Move checkpoints after a step to ``checkpoints/aside``, where nothing takes them for latest.

    A run that goes on from an earlier checkpoint will come to these steps again.
    """
    moved = []
    for folder in steps(run):
        if step_of(folder) > step:
            target = folder.parent / "aside" / folder.name
            target.parent.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            os.replace(folder, target)
            moved.append(target)
    return moved


def tidy(run: Path) -> None:
    """Remove what a process that was killed while saving has left; a whole checkpoint stays."""
    for old in (run / "checkpoints").glob(".step-*.old-*"):
        folder = old.with_name(old.name[1:].split(".")[0])
        if not folder.exists():  # killed between two renames
            os.replace(old, folder)
    for pattern in (".step-*.partial-*", ".step-*.old-*", ".step-*.deleted-*"):
        for rest in (run / "checkpoints").glob(pattern):
            shutil.rmtree(rest, ignore_errors=True)


def sha256(file: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    with open(file, "rb") as handle:
        return (
            hashlib.file_digest(handle, "sha256").hexdigest()
            if hasattr(hashlib, "file_digest")
            else _digest_310(handle)
        )


def _digest_310(handle: Any) -> str:  # Python 3.10
    digest = hashlib.sha256()
    for chunk in iter(lambda: handle.read(1 << 20), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
