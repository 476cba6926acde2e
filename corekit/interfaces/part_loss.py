"""The PartLoss interface: what training minimises where only some parts of a model are trained."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor

from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch, LossTerms


class PartLoss(ABC):
    """A loss that needs of the frozen parts one tensor per example, which can be kept.

    **Implement one** for a model that has such parts, and give it from `GenerativeModel.narrowed`.
    The trainer sets the model's ``part_loss`` to it, and the model's ``forward`` calls it in place
    of the model's own loss. It has no parameters. With ``train.cache`` the codes of all examples
    are computed once, in evaluation mode, and the batches hold codes in the place of data.

    Attributes:
        cached: Whether batches hold codes; set by the trainer, after it has called `code` on some
            examples.
    """

    cached: bool = False

    @abstractmethod
    def code(self, model: Any, batch: Batch) -> Tensor:
        """What the trained parts see of each row, ``(B, ...)``.

        A function of the row and of frozen weights: nothing in it is left to chance.
        """

    @abstractmethod
    def coder(self, model: Any) -> Any:
        """The frozen part that `code` uses: other weights in it make other codes."""

    @abstractmethod
    def __call__(self, model: Any, batch: Batch, draws: Draws) -> LossTerms:
        """The loss terms of a batch of data or, if ``cached``, of codes."""
