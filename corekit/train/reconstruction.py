"""Held-out data, encoded and decoded."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corekit.data.loading import fixed_batches
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.report.save import save_pairs, with_ending
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share
from corekit.train.sampling import ROWS


@torch.no_grad()
def reconstruct(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int,
    rows: list[int] | None = None,
    *,
    share: Share = ALONE,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Examples of a split and their reconstructions, on the CPU; row i depends on (seed, i)."""
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)
    chosen = list(range(len(examples))) if rows is None else rows

    def pair(start: int) -> tuple[Tensor, Tensor]:
        part = chosen[start : start + ROWS]
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), ROWS, part))
        draws = RowDraws(seed, batch.rows)
        moved = batch.to(device)
        copies = model.reconstruct(moved.x, moved.condition, generator=draws, **options)
        return batch.x, copies.cpu()

    originals, copies = zip(*share.map(pair, range(0, len(chosen), ROWS)), strict=True)
    return torch.cat(originals), torch.cat(copies)


def reconstruct_and_save(
    model: GenerativeModel,
    dataset: Dataset,
    path: Path,
    n: int,
    seed: int,
    split: str,
    *,
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Reconstruct n examples spread over a split; write ``path.png`` and two arrays.

    Returns:
        The picture, or the array if there is no picture of such data.
    """
    examples = nonempty(dataset, split)
    rows = np.linspace(0, len(examples) - 1, min(n, len(examples))).round().astype(int).tolist()
    originals, copies = reconstruct(model, dataset, split, seed, rows, share=share, **options)
    if not share.main:
        return with_ending(path, ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(with_ending(path, ".npy"), copies.numpy())
    np.save(path.with_name(path.name + "-originals.npy"), originals.numpy())
    picture = save_pairs(originals, copies, with_ending(path, ".png"), dataset.data_spec)
    return picture or with_ending(path, ".npy")
