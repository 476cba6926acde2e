"""The loss on held-out data, with the same noise every time."""

from typing import NamedTuple

import torch

from corekit.data.loading import fixed_batches
from corekit.errors import DataError
from corekit.interfaces.dataset import Dataset, Split
from corekit.interfaces.draws import Draws, seed_of
from corekit.interfaces.model import GenerativeModel
from corekit.spec import TrainSpec
from corekit.train.meter import scalars


class Heldout(NamedTuple):
    """Means by name, and the unit of each term."""

    values: dict[str, float]
    units: dict[str, str]


@torch.no_grad()
def heldout_loss(
    model: GenerativeModel,
    dataset: Dataset,
    train: TrainSpec,
    device: torch.device,
    split: str = "val",
) -> Heldout:
    """Means over a split of the loss and its terms.

    Points, timesteps and noise depend on (seed, batch) alone: two models, or two steps of one,
    are compared on the same numbers. Statistics over a batch are averaged over batches.
    """
    examples = nonempty(dataset, split)
    sums: dict[str, torch.Tensor] = {}
    for i, batch in enumerate(
        fixed_batches(examples, seed_of(train.seed, "heldout"), train.batch_size)
    ):
        generator = torch.Generator(device).manual_seed(seed_of(train.seed, "heldout", i))
        terms = model(batch.to(device), draws=Draws(generator))
        for name, value in scalars(terms).items():
            sums[name] = sums.get(name, 0) + value.double() * batch.x.shape[0]
    values = torch.stack(list(sums.values())) / len(examples)
    return Heldout(dict(zip(sums, values.tolist(), strict=True)), dict(terms.units))


def nonempty(dataset: Dataset, split: str) -> Split:
    """A split that has examples.

    Raises:
        DataError: If it has none.
    """
    examples = dataset.split(split)
    if not len(examples):
        raise DataError(
            f"{type(dataset).__name__}: the split '{split}' must have examples, got none."
        )
    return examples
