"""What samples of a conditional model are conditioned on: held-out examples, or given labels."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from corekit.data.given_images import given_images
from corekit.data.loading import fixed_batches
from corekit.errors import UsageError
from corekit.interfaces.dataset import Dataset
from corekit.interfaces.draws import seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.interfaces.records import Condition
from corekit.train.heldout import nonempty

Conditions = Callable[[range], Condition | None]
"""The condition of some samples, by their numbers in the set."""


def of_examples(
    model: GenerativeModel, dataset: Dataset, seed: int, split: str = "val"
) -> Conditions | None:
    """Those of the examples of a split, in order and again from the first; None without any.

    Raises:
        DataError: If the split has no example.
    """
    if not model.data.condition_shapes:
        return None
    examples, device = nonempty(dataset, split), next(model.parameters()).device

    def of(rows: range) -> Condition | None:
        numbers = [row % len(examples) for row in rows]
        batch = next(fixed_batches(examples, seed_of(seed, "heldout"), len(numbers), numbers))
        return None if batch.condition is None else batch.condition.to(device)

    return of


def of_labels(
    model: GenerativeModel, labels: Sequence[int], others: Conditions | None
) -> Conditions:
    """These classes in turn, beside the other conditions of examples.

    Raises:
        UsageError: If the model knows no labels.
    """
    if "labels" not in model.data.condition_shapes:
        known = ", ".join(model.data.condition_shapes) or "none"
        raise UsageError(
            f"--labels: the data of the model must have labels, got the conditions {known}."
        )
    device = next(model.parameters()).device

    def of(rows: range) -> Condition:
        found = others(rows) if others is not None else None
        chosen = torch.tensor([labels[row % len(labels)] for row in rows], device=device)
        return (found or Condition())._replace(labels=chosen)

    return of


def of_images(model: GenerativeModel, path: Path, others: Conditions | None) -> Conditions:
    """Images of a file or a folder in turn, beside the other conditions.

    Raises:
        UsageError: If the model is given no image.
        DataError: If they cannot be read, or are of another shape.
    """
    shape = model.data.condition_shapes.get("image")
    if shape is None:
        known = ", ".join(model.data.condition_shapes) or "none"
        raise UsageError(
            f"--images: the data of the model must have an image as a condition (low_res), got the "
            f"conditions {known}."
        )
    images = given_images(path, shape, model.data).to(next(model.parameters()).device)

    def of(rows: range) -> Condition:
        found = others(rows) if others is not None else None
        return (found or Condition())._replace(image=images[[row % len(images) for row in rows]])

    return of
