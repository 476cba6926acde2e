"""Directions in the latent space of a model along which attributes change."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from corekit.data.loading import fixed_batches
from corekit.errors import CheckpointError, DataError, UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Batch
from corekit.metrics.ranking import auc, spearman
from corekit.train.attributes import Attributes
from corekit.train.heldout import nonempty
from corekit.train.processes import ALONE, Share
from corekit.train.sampling import ROWS

_PIECES = 32
"""Parts that the examples are summed in: however many there are, so many sums are kept."""

_KIND = "corekit_directions"


class Directions(NamedTuple):
    """A direction over the whole latent for each attribute.

    Attributes:
        vectors: By name, ``(D,)`` of the latent of D numbers, float64.
        facts: By name, how it was found: ``binary``, ``examples``, ``positive`` or ``mean``.
    """

    vectors: Mapping[str, Tensor]
    facts: Mapping[str, Mapping[str, Any]]

    def combined(self, weights: Mapping[str, float]) -> Tensor:
        """The sum of some, each times its weight, ``(D,)``."""
        return torch.stack([w * self.vectors[name] for name, w in weights.items()]).sum(0)


@torch.no_grad()
def directions_of(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    attributes: Attributes,
    seed: int = 0,
    *,
    share: Share = ALONE,
) -> Directions:
    r"""The direction of each attribute by least squares of the latent on its value t.

    .. math:: v = \frac{\sum_n (t_n - \bar t)\, z_n}{\sum_n (t_n - \bar t)^2}

    Of an attribute that is there (t = 1) or not (0), this is the difference of the mean latents of
    the examples with it and without. Sums are in float64.

    Raises:
        DataError: If an attribute is the same for all examples.
        UsageError: If the model has no latent.
        Stopped: If someone asks to stop before the end.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 6, https://arxiv.org/abs/1807.03039.
    """
    values = attributes.values
    _check_varies(attributes, split)
    centred = torch.from_numpy(values - values.mean(0))
    size = -(-len(values) // _PIECES)

    def of_piece(start: int) -> Tensor:
        total: Tensor | None = None
        for first in range(start, min(start + size, len(values)), ROWS):
            rows = list(range(first, min(first + ROWS, start + size, len(values))))
            z = latents(model, dataset, split, rows, seed)[0].flatten(1)
            found = centred[rows].T @ z
            total = found if total is None else total + found
        if total is None:
            raise UsageError(f"directions: '{split}' must have examples, got none.")
        return total

    with model.frozen():
        sums = share.map(of_piece, range(0, len(values), size))
    vectors = torch.stack(sums).sum(0) / centred.square().sum(0)[:, None]
    facts = [_facts(name, attributes, split) for name in attributes.names]
    for name, vector in zip(attributes.names, vectors, strict=True):
        if not bool(vector.isfinite().all()):
            raise DataError(f"directions: that of '{name}' must be finite. A latent is not.")
    return Directions(
        dict(zip(attributes.names, vectors, strict=True)),
        dict(zip(attributes.names, facts, strict=True)),
    )


def latents(
    model: GenerativeModel, dataset: Dataset, split: str, rows: Sequence[int], seed: int
) -> tuple[Tensor, Batch]:
    """The latents ``(B, *latent_shape)`` of some examples, float64 on the CPU, and their batch."""
    device = next(model.parameters()).device
    examples = nonempty(dataset, split)
    batch = next(fixed_batches(examples, seed_of(seed, "heldout"), len(rows), rows))
    moved = batch.to(device)
    return model.encode(moved.x, moved.condition).cpu().double(), moved


def projection(z: Tensor, v: Tensor) -> Tensor:
    r"""How much of a direction is in each latent ``(B, D)``, :math:`z \cdot v / |v|^2`."""
    return z @ v / v.square().sum()


@torch.no_grad()
def scores(
    model: GenerativeModel,
    dataset: Dataset,
    split: str,
    directions: Directions,
    attributes: Attributes,
    seed: int = 0,
    *,
    share: Share = ALONE,
) -> dict[str, dict[str, float | int | None]]:
    """How well the projections of held-out examples rank each attribute.

    A split may be several, joined by "+", as those of the attributes.

    Returns:
        By name, ``auc`` of an attribute that is there or not; of a quantity ``spearman``, and
        ``auc_of_sign`` of those above 0 against those below, where there are both. None where all
        examples have the same value.
    """
    names = list(attributes.names)
    matrix = torch.stack([directions.vectors[name] for name in names])
    scale = matrix.square().sum(1)

    found = []
    for one in split.split("+"):
        number = len(dataset.split(one))

        def projected(start: int, one: str = one, number: int = number) -> Tensor:
            rows = list(range(start, min(start + ROWS, number)))
            z, _ = latents(model, dataset, one, rows, seed)
            return z.flatten(1) @ matrix.T / scale

        with model.frozen():
            found += share.map(projected, range(0, number, ROWS))
    ranked = torch.cat(found).numpy()
    return {
        name: _score(ranked[:, i], attributes.values[:, i], bool(directions.facts[name]["binary"]))
        for i, name in enumerate(names)
    }


def _score(found: np.ndarray, value: np.ndarray, binary: bool) -> dict[str, float | int | None]:
    above = auc(found[value > 0], found[value <= 0 if binary else value < 0])
    figures = {"auc": above} if binary else {"spearman": spearman(found, value)}
    if not binary and not math.isnan(above):
        figures["auc_of_sign"] = above
    known = {name: None if math.isnan(f) else f for name, f in figures.items()}
    return {"examples": len(value), **known}


def save_directions(directions: Directions, path: Path) -> None:
    """Write a safetensors file with a tensor for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: vector.float().contiguous() for name, vector in directions.vectors.items()}
    save_file(tensors, path, {_KIND: json.dumps(dict(directions.facts))})


def load_directions(path: Path, size: int) -> Directions:
    """Read what `save_directions` wrote.

    Args:
        path: The file.
        size: D, numbers of the latent of the model.

    Raises:
        CheckpointError: If it is no such file, or of a latent of another size.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = (file.metadata() or {}).get(_KIND)
            vectors = {name: file.get_tensor(name).double() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: must be a file of directions: {error}.") from error
    if facts is None or set(json.loads(facts)) != set(vectors):
        raise CheckpointError(f"{path}: must be a file of directions, got other tensors.")
    for name, vector in vectors.items():
        if vector.shape != (size,):
            raise CheckpointError(
                f"{path}: '{name}' must have the {size} numbers of the model's latent, got "
                f"{tuple(vector.shape)}. It is of another model."
            )
    return Directions(vectors, json.loads(facts))


def _check_varies(attributes: Attributes, split: str) -> None:
    values = attributes.values
    for name, column, binary in zip(attributes.names, values.T, attributes.binary, strict=True):
        if column.min(initial=math.inf) < column.max(initial=-math.inf):
            continue
        if binary:
            rule = "be there in some examples and not in others"
            got = f"{int((column > 0).sum())} of {len(column)} with it"
        else:
            rule, got = "differ between examples", f"{column[0]} for all {len(column)}"
        raise DataError(
            f"attribute '{name}': it must {rule} of '{split}', got {got}. Leave it out "
            "(--attribute names those to use) or take other examples."
        )


def _facts(name: str, attributes: Attributes, split: str) -> dict[str, Any]:
    column = attributes.values[:, attributes.names.index(name)]
    binary = attributes.binary[attributes.names.index(name)]
    more = {"positive": int(column.sum())} if binary else {"mean": float(column.mean())}
    return {"binary": binary, "split": split, "examples": len(column), **more}
