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
from corekit.report.save import save_pairs
from corekit.train.heldout import nonempty
from corekit.train.sampling import ROWS


@torch.no_grad()
def reconstruct(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int,
    rows: list[int] | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Examples of a split and their reconstructions, on the CPU; row i depends on (seed, i)."""
    device = next(model.parameters()).device
    originals, copies = [], []
    for batch in fixed_batches(nonempty(dataset, split), seed_of(seed, "heldout"), ROWS, rows):
        draws = RowDraws(seed, batch.rows)
        moved = batch.to(device)
        copies.append(model.reconstruct(moved.x, moved.condition, generator=draws, **options).cpu())
        originals.append(batch.x)
    return torch.cat(originals), torch.cat(copies)


def reconstruct_and_save(
    model: GenerativeModel,
    dataset: Dataset,
    path: Path,
    n: int,
    seed: int,
    split: str,
    **options: Any,
) -> Path:
    """Reconstruct n examples spread over a split; write ``path.png`` and two arrays.

    Returns:
        The picture, or the array if there is no picture of such data.
    """
    examples = nonempty(dataset, split)
    rows = np.linspace(0, len(examples) - 1, min(n, len(examples))).round().astype(int).tolist()
    originals, copies = reconstruct(model, dataset, split, seed, rows, **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), copies.numpy())
    np.save(path.with_name(path.name + "-originals.npy"), originals.numpy())
    return save_pairs(originals, copies, path.with_suffix(".png")) or path.with_suffix(".npy")
