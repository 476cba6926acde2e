"""The Dataset and Metric interfaces."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, Condition

if TYPE_CHECKING:
    from corekit.interfaces.model import GenerativeModel


class Item(NamedTuple):
    """One example: x ``event_shape`` and its condition, without a batch dimension."""

    x: Tensor
    condition: Condition | None = None


class Split(ABC):
    """A finite, ordered set of examples. Reading one is a pure function of (index, rng).

    **Implement one.** Write ``__len__`` and ``get``. Open files on first use in ``get``, not in
    the constructor, so that a worker process opens its own; all randomness comes from ``rng``.
    """

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def get(self, index: int, rng: np.random.Generator) -> Item:
        """Example ``index``; random choices (which points, which flip) come from ``rng``."""

    def get_batch(self, indices: Sequence[int]) -> Batch | None:
        """These examples at once, the same as from ``get``; None reads them one by one.

        Write it where nothing is left to chance and reading many is faster.
        """
        return None

    def name(self, index: int) -> str:
        """What to call the example in a table or a picture."""
        return str(index)


class Dataset(ABC):
    """A data set with named splits.

    **Implement one.** Set ``data_spec`` and write ``split``.

    Attributes:
        data_spec: Shape, dtype and support of one example, and the number of training examples.
        splits: Names of the splits; "train" is always one of them.
    """

    data_spec: DataSpec
    splits: tuple[str, ...] = ("train", "val", "test")

    @abstractmethod
    def split(self, name: str) -> Split:
        """The examples of one split."""

    def describe(self) -> Mapping[str, object]:
        """Source, licence, hash, sizes: what the run records about its data."""
        return {}


class Figure(NamedTuple):
    """One measured figure with what is needed to read it.

    Attributes:
        value: The number.
        sd: Standard deviation over repetitions, or None if there was one.
        references: name -> value of the same metric on known inputs (chance, ceiling, floor).
        protocol: How it was measured: sizes, normalisation, number of points.
        better: "lower", "higher", or "chance" (the nearer to references["chance"] the better).
    """

    value: float
    sd: float | None = None
    references: Mapping[str, float] = {}
    protocol: Mapping[str, object] = {}
    better: str = "lower"


class Metric(ABC):
    """Compares a set of samples with the data.

    **Implement one.** Write ``__call__``; every `Figure` carries its protocol.

    Attributes:
        needs: What it is given as samples: "samples" of the model, "reconstructions" of the
            held-out examples, or of each of them its "bits_per_dim", ``(R,)``.
    """

    needs: str = "samples"

    @abstractmethod
    def __call__(self, samples: Tensor, reference: Tensor, train: Tensor) -> Mapping[str, Figure]:
        """Figures by name, from samples, held-out data and training data.

        Shape: samples ``(S, ...)``, reference ``(R, ...)``, train ``(T, ...)``.
        """


R = TypeVar("R")


class Look(Protocol):
    """Work on held-out examples: a function of a batch and its noise, for all of them in turn.

    The noise of a row depends on the seed and the row alone, whatever the batch. Several processes
    share the batches, and all get what each returned, in order.
    """

    def __call__(self, work: Callable[[Batch, Draws], R]) -> list[R]:
        """What ``work`` returned for each batch; batches are on the device of the model."""
        ...


class ModelMetric(ABC):
    """Measures a model itself on held-out data: its likelihood, its latents.

    **Implement one.** Write ``__call__``; every `Figure` carries its protocol.
    """

    @abstractmethod
    def __call__(self, model: "GenerativeModel", look: Look) -> Mapping[str, Figure]:
        """Figures by name.

        Raises:
            UsageError, NoDensity: If it is none of the models that this can be measured of.
        """
