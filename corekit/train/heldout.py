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
from corekit.train.processes import ALONE, Share


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
    share: Share = ALONE,
) -> Heldout:
    """Means over a split of the loss and its terms.

    Points, timesteps and noise depend on (seed, batch) alone: two models, or two steps of one,
    are compared on the same numbers, computed by one process or by many. Statistics over a batch
    are averaged over batches.

    Raises:
        Stopped: If someone asks to stop before the end.
    """
    examples = nonempty(dataset, split)
    seed, size = seed_of(train.seed, "heldout"), train.batch_size

    def batch_means(number: int) -> tuple[dict[str, float], dict[str, str], int]:
        rows = range(number * size, min((number + 1) * size, len(examples)))
        batch = next(fixed_batches(examples, seed, size, rows))
        generator = torch.Generator(device).manual_seed(seed_of(train.seed, "heldout", number))
        terms = model(batch.to(device), draws=Draws(generator))
        values = scalars(terms)
        read = torch.stack([value.double() for value in values.values()]).tolist()
        return dict(zip(values, read, strict=True)), dict(terms.units), len(rows)

    sums: dict[str, float] = {}
    batches = share.map(batch_means, range(-(-len(examples) // size)))
    for values, _, rows in batches:
        for name, value in values.items():
            sums[name] = sums.get(name, 0.0) + value * rows
    means = {name: total / len(examples) for name, total in sums.items()}
    return Heldout(means, batches[0][1])


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
