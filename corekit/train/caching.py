"""Codes of the data: what frozen parts give of each example, computed once and kept on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from corekit.checkpoint.shares import whole
from corekit.data.array_files import open_arrays
from corekit.data.loading import fixed_batches
from corekit.data.rows import Rows, kept
from corekit.data_spec import DataSpec
from corekit.errors import CheckpointError, DataError, UsageError
from corekit.interfaces.dataset import Dataset, Item, Split
from corekit.interfaces.draws import seed_of
from corekit.interfaces.part_loss import PartLoss
from corekit.interfaces.records import Batch
from corekit.train.processes import Share
from corekit.train.stopping import Stopped

if TYPE_CHECKING:
    from corekit.train.trainer import Trainer

FORMAT = 1
ROWS = 64  # that are encoded together: the same for any number of processes
_ROUND = 64  # batches of so many rows between two writings
_IN_MEMORY = 256 * 2**20  # bytes; of more, rows are read when a step needs them
CACHE, _KEY = "cache", "key.json"


def prepare(trainer: Trainer, share: Share, replayed: Path | None = None) -> str | None:
    """Give a trainer the codes of its data, where it is to train on them.

    They are in the folder ``cache`` of the run, with a hash of all that they depend on: they are
    used again as long as it is the same, and computed anew otherwise.

    Args:
        trainer: Whose ``examples`` they become.
        share: Over processes, until someone asks to stop.
        replayed: Use those of this run, if they fit, and compute none.

    Returns:
        Why it was stopped, or None; what it had computed is then dropped.
    """
    loss = trainer.model.part_loss
    if not trainer.train.cache or loss is None or loss.cached:
        return None
    data = {name: trainer.dataset.split(name) for name in _splits(trainer.dataset)}
    folder = (replayed or trainer.run.path) / CACHE
    coder = whole(dict(loss.coder(trainer.model).state_dict()), keep=trainer.processes.main)
    key = trainer.processes.from_main(lambda: _key(trainer, coder, data))
    with trainer.evaluating():
        _encoded(trainer, loss, data["train"], range(1))  # the loss looks at an example
        if not trainer.processes.from_main(lambda: _is_fresh(folder, key)):
            if replayed is not None:
                return None
            try:
                _fill(trainer, loss, data, folder, key, share)
            except Stopped as stopped:
                return stopped.reason
    trainer.examples = Codes(folder, trainer.data)
    loss.cached = True
    return None


class Codes(Dataset):
    """What `prepare` has written, as a data set.

    Args:
        folder: Where it is: an array for each split.
        data: What the data are that the codes are of.
    """

    def __init__(self, folder: Path, data: DataSpec) -> None:
        arrays = open_arrays(folder)
        few = sum(rows.nbytes for rows in arrays.values()) <= _IN_MEMORY
        self._rows = {name: kept(rows) if few else rows for name, rows in arrays.items()}
        self.splits = tuple(self._rows)
        self.data_spec = data

    def split(self, name: str) -> CodeSplit:
        """The codes of a split."""
        if name not in self._rows:
            known = ", ".join(self.splits)
            raise DataError(f"Codes: split must be one of {known}, got '{name}'.")
        return CodeSplit(self._rows[name])


class CodeSplit(Split):
    """The codes of one split: x is a code, in the order of the data.

    Args:
        rows: Where they are read.
    """

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """The code of example ``index``."""
        return Item(torch.from_numpy(self._rows.row(index).copy()))

    def get_batch(self, indices: Sequence[int]) -> Batch:
        """Codes at once."""
        rows = self._rows.take(indices)
        return Batch(torch.from_numpy(rows), None, torch.tensor(list(indices)))


class Fixed(Split):
    """A split whose examples must be the same at each visit.

    Args:
        split: That it reads.
        who: Its data set, for the error.
    """

    def __init__(self, split: Split, who: str) -> None:
        self._split, self._who = split, who

    def __len__(self) -> int:
        return len(self._split)

    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Example ``index``.

        Raises:
            UsageError: If it takes a random number: the next visit would see another example.
        """
        before = rng.bit_generator.state
        item = self._split.get(index, rng)
        if rng.bit_generator.state != before:
            raise UsageError(
                f"train.cache: examples must be the same at each visit, got those of {self._who}, "
                "which are drawn anew (points of a cloud, flips). Make them fixed (`resample: "
                "false`, `flip: false`), or leave out `cache`."
            )
        return item

    def get_batch(self, indices: Sequence[int]) -> Batch | None:
        """Examples at once, if nothing is left to chance."""
        return self._split.get_batch(indices)


def check_fixed(dataset: Dataset) -> None:
    """Look at an example of the training data, before hours are spent on what comes first.

    Raises:
        UsageError: If it is drawn anew at each visit.
    """
    next(fixed_batches(Fixed(dataset.split("train"), type(dataset).__name__), 0, 1))


def _splits(dataset: Dataset) -> list[str]:
    """Those that training reads: it scores "val", where there is one."""
    return [
        name for name in ("train", "val") if name in dataset.splits and len(dataset.split(name))
    ]


def _encoded(trainer: Trainer, loss: PartLoss, split: Split, rows: range) -> np.ndarray:
    """Codes of some rows. Held-out rows are those that evaluations see."""
    fixed = Fixed(split, type(trainer.dataset).__name__)
    seed = seed_of(trainer.train.seed, "heldout")
    batch = next(fixed_batches(fixed, seed, len(rows), rows))
    codes: np.ndarray = loss.code(trainer.model, batch.to(trainer.device)).cpu().numpy()
    return codes


def _fill(
    trainer: Trainer,
    loss: PartLoss,
    data: dict[str, Split],
    folder: Path,
    key: str,
    share: Share,
) -> None:
    """Compute the codes, every process some of the batches; the main one writes."""
    made = folder.with_name(".cache.partial")
    from_main = trainer.processes.from_main
    try:
        from_main(lambda: _emptied(made))
        for name, split in data.items():
            pieces = [
                range(start, min(start + ROWS, len(split))) for start in range(0, len(split), ROWS)
            ]
            encode = partial(_encoded, trainer, loss, split)
            for start in range(0, len(pieces), _ROUND):
                codes = np.concatenate(share.map(encode, pieces[start : start + _ROUND]))
                count = 0 if start else len(split)  # the first ones have the header before them
                from_main(partial(_append, made / f"{name}.npy", codes, count))
        from_main(lambda: _finish(made, folder, key))
    except BaseException:
        if trainer.processes.main:
            shutil.rmtree(made, ignore_errors=True)
        raise


def _append(path: Path, codes: np.ndarray, count: int) -> None:
    """Write codes behind those before them; a file of so many begins with a header."""
    try:
        with open(path, "ab") as file:
            if count:
                np.lib.format.write_array_header_1_0(
                    file,
                    {
                        "descr": np.lib.format.dtype_to_descr(codes.dtype),
                        "fortran_order": False,
                        "shape": (count, *codes.shape[1:]),
                    },
                )
            file.write(np.ascontiguousarray(codes).data)
    except OSError as error:
        raise CheckpointError(
            f"{path}: what is cached must fit on the disk, got '{error}'. Make room and go on "
            "with --resume."
        ) from error


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _finish(made: Path, folder: Path, key: str) -> None:
    (made / _KEY).write_text(json.dumps({"format": FORMAT, "key": key}) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(made, folder)


def _is_fresh(folder: Path, key: str) -> bool:
    try:
        stored = json.loads((folder / _KEY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stored == {"format": FORMAT, "key": key})


def _key(trainer: Trainer, coder: dict[str, Tensor], data: dict[str, Split]) -> str:
    """A hash of all that codes depend on: the weights that make them, the spec, the data."""
    spec = trainer.spec.model_dump(mode="json", include={"model", "data"})
    facts = {
        "spec": spec,
        "data": dict(trainer.dataset.describe()),
        "sizes": {name: len(split) for name, split in data.items()},
        "seed": trainer.train.seed,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, tensor in sorted(coder.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
