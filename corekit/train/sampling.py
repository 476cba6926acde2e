"""Sets of samples: the same sample i for the same (seed, i), in any batch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from corekit.interfaces.draws import RowDraws
from corekit.interfaces.model import GenerativeModel
from corekit.report.save import save_picture
from corekit.train.processes import ALONE, Share

ROWS = 64
"""Samples that are drawn together."""


@torch.no_grad()
def generate(
    model: GenerativeModel, n: int, seed: int, *, share: Share = ALONE, **options: Any
) -> Tensor:
    """n samples on the CPU; sample i depends on (seed, i) and the options alone.

    Raises:
        Stopped: If someone asks to stop before the end.
    """

    def draw(rows: range) -> Tensor:
        return model.sample(len(rows), generator=RowDraws(seed, rows), **options).cpu()

    chunks = [range(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]
    with model.frozen():
        return torch.cat(share.map(draw, chunks))


def sample_and_save(
    model: GenerativeModel,
    path: Path,
    n: int,
    seed: int,
    *,
    captions: Sequence[str] | None = None,
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Draw samples and write ``path.png``, ``path.npy`` and ``path.json`` (seed, options).

    Of several processes, each draws some and the main one writes.

    Returns:
        The picture, or the array if there is no picture of such data.
    """
    samples = generate(model, n, seed, share=share, **options)
    if not share.main:
        return path.with_suffix(".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".npy"), samples.numpy())
    facts = {"seed": seed, "num": n, **{k: repr(v) for k, v in options.items()}}
    path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    picture = save_picture(samples, path.with_suffix(".png"), captions, model.data)
    return picture or path.with_suffix(".npy")
