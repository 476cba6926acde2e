"""Between two examples: a straight line in the latent space of a model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corekit.data.loading import fixed_batches
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import RowDraws, seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.report.images import image_grid, is_image
from corekit.report.save import save_picture, with_ending
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share


@torch.no_grad()
def interpolate(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    seed: int,
    pairs: list[tuple[int, int]],
    steps: int,
    *,
    share: Share = ALONE,
    **options: Any,
) -> Tensor:
    """Data on the lines between the latents of pairs of examples, on the CPU.

    A whole line has the condition of its first example, where the examples come with one.
    Nothing is added to the data before they are encoded. A decoder that draws gets the same noise
    all along a line.

    Shape: ``(pairs, steps, *event_shape)``; the first and the last are the two examples, as the
        model gives them back.
    """
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)

    def line(number: int) -> Tensor:
        rows = pairs[number]
        x, y = (
            next(fixed_batches(examples, seed_of(seed, "heldout"), 1, [row])).to(device)
            for row in rows
        )
        draws = RowDraws(seed, [number] * steps)
        made = model.interpolate(x.x, y.x, steps, x.condition, generator=draws, **options)
        return made[0].cpu()

    with model.frozen():
        return torch.stack(list(share.map(line, range(len(pairs)))))


def interpolate_and_save(
    model: GenerativeModel,
    dataset: Dataset,
    path: Path,
    n: int,
    steps: int,
    seed: int,
    split: str,
    *,
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Draw n lines between examples spread over a split; write ``path.png`` and ``path.npy``.

    Returns:
        The picture, one line per row, or the array if there is no picture of such data.
    """
    total = len(nonempty(dataset, split))
    if total < 2:
        raise UsageError(f"interpolate: '{split}' must have at least 2 examples, got {total}.")
    lines = min(n, total // 2)
    rows = np.linspace(0, total - 1, 2 * lines).round().astype(int).tolist()
    pairs = list(zip(rows[:lines], rows[lines:], strict=True))
    made = interpolate(model, dataset, split, seed, pairs, steps, share=share, **options)
    if not share.main:
        return with_ending(path, ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(with_ending(path, ".npy"), made.numpy())
    flat, target, data = made.flatten(0, 1), with_ending(path, ".png"), dataset.data_spec
    if is_image(tuple(flat.shape[1:])):
        return image_grid(flat, target, columns=steps, data=data)
    return save_picture(flat, target, data=data) or with_ending(path, ".npy")
