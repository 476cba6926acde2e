"""Examples that are moved along directions of attributes in latent space."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Condition
from corekit.report.save import save_grid, save_rows, with_ending
from corekit.train.directions import Directions, latents, projection
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share


class Walk(NamedTuple):
    """Examples moved along a direction.

    Attributes:
        made: ``(examples, steps, *event_shape)``.
        starts: By name of a direction, and "together", the projection of each example on it.
    """

    made: Tensor
    starts: Mapping[str, list[float]]


@torch.no_grad()
def walk(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    rows: Sequence[int],
    directions: Directions,
    weights: Mapping[str, float],
    alphas: Sequence[float],
    seed: int = 0,
    *,
    absolute: bool = False,
    share: Share = ALONE,
    **options: Any,
) -> Walk:
    r"""Data from :math:`z + \alpha v` for each strength, with v the weighted sum of directions.

    A decoder that draws gets the same noise all along a walk, and the condition of its example.

    Args:
        model: With `encode` and `decode`.
        dataset: The data.
        split: Whose examples.
        rows: Which of them.
        directions: From `directions_of`.
        weights: Which of the directions, and how much of each.
        alphas: Strengths.
        seed: Of all noise.
        absolute: Whether a strength is the projection :math:`z \cdot v / |v|^2` to arrive at,
            instead of what is added to it.
        share: Of several processes, each takes some of the examples.
        options: How data are decoded.

    Raises:
        Stopped: If someone asks to stop before the end.
    """
    v = directions.combined(weights)
    if not bool(v.square().sum() > 0):
        raise UsageError("manipulate: the directions together must lead somewhere, got length 0.")
    named = {name: directions.vectors[name] for name in weights} | {"together": v}
    strengths = torch.tensor(list(alphas), dtype=torch.float64)

    def moved(row: int) -> tuple[Tensor, list[float]]:
        z, batch = latents(model, dataset, split, [row], seed)
        starts = [projection(z.flatten(1), vector).item() for vector in named.values()]
        amounts = strengths - starts[-1] if absolute else strengths
        along = (z.flatten(1) + amounts[:, None] * v).reshape(-1, *z.shape[1:]).to(batch.x)
        given = batch.condition
        if given is not None:
            steps = (x if x is None else x.repeat_interleave(len(along), 0) for x in given)
            given = Condition(*steps)
        draws = RowDraws(seed, [row] * len(along))
        return model.decode(along, given, generator=draws, **options).cpu(), starts

    with model.frozen():
        made, starts = zip(*share.map(moved, list(rows)), strict=True)
    columns = zip(*starts, strict=True)
    return Walk(torch.stack(made), {k: list(c) for k, c in zip(named, columns, strict=True)})


def walk_and_save(
    model: GenerativeModel,
    dataset: Dataset,
    path: Path,
    split: str,
    rows: Sequence[int],
    directions: Directions,
    weights: Mapping[str, float],
    alphas: Sequence[float],
    seed: int,
    *,
    absolute: bool = False,
    facts: Mapping[str, Any],
    share: Share = ALONE,
    **options: Any,
) -> Path:
    """Walk and write ``path.png``, ``path.npy`` and ``path.json``, which has the projections.

    Returns:
        The picture, one example per row, or the array if there is no picture of such data.
    """
    found = walk(
        model,
        dataset,
        split,
        rows,
        directions,
        weights,
        alphas,
        seed,
        absolute=absolute,
        share=share,
        **options,
    )
    if not share.main:
        return with_ending(path, ".npy")
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(with_ending(path, ".npy"), found.made.numpy())
    examples = nonempty(dataset, split)
    about = {
        "split": split,
        "seed": seed,
        "alphas": list(alphas),
        "absolute": absolute,
        "weights": dict(weights),
        "directions": {name: dict(directions.facts[name]) for name in weights},
        "examples": [
            {
                "row": row,
                "name": examples.name(row),
                "projection": {name: column[i] for name, column in found.starts.items()},
            }
            for i, row in enumerate(rows)
        ],
        **facts,
    }
    with_ending(path, ".json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return _picture(found.made, path, alphas, dataset.data_spec)


def _picture(made: Tensor, path: Path, alphas: Sequence[float], data: DataSpec) -> Path:
    target, names = with_ending(path, ".png"), [f"{alpha:g}" for alpha in alphas]
    if tuple(made.shape[2:]) == (2,):  # a panel for each strength
        picture = save_rows({name: made[:, i] for i, name in enumerate(names)}, target, data)
    else:
        captions = [""] * ((len(made) - 1) * len(names)) + names  # below the last row
        picture = save_grid(made.flatten(0, 1), target, len(names), captions, data)
    return picture or with_ending(path, ".npy")


def chosen_rows(dataset: Dataset, split: str, rows: Sequence[int] | None, num: int) -> list[int]:
    """Rows of a split: those given, or some spread over it.

    Raises:
        UsageError: If there is no such row.
    """
    total = len(nonempty(dataset, split))
    if rows is None:
        return np.linspace(0, total - 1, min(num, total)).round().astype(int).tolist()
    wrong = [row for row in rows if not 0 <= row < total]
    if wrong:
        raise UsageError(
            f"--rows: each must lie in 0 ... {total - 1} of '{split}', got {wrong[0]}."
        )
    return list(rows)
