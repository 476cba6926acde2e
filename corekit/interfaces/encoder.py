"""The Encoder interface: from data to a distribution over latents."""

from abc import ABC, abstractmethod

from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.records import Condition
from corekit.interfaces.shapes import check_shape
from corekit.interfaces.standardization import OfData


class Encoder(OfData, ABC):
    """The approximate posterior q(z | x, condition).

    **Implement one.** Take ``event_shape`` first in the constructor, set ``latent_shape``, and
    write ``_forward``, which returns a `Posterior`.

    Attributes:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        kind: What log q(z | x) is (`Likelihood`); ``none`` for a point posterior.
        latent_support: Where z lies; the prior of a latent model must lie there too.
        free_axes: Axes of the event that may have any length (points of a cloud).

    Shape: x ``(B, *event_shape)``.
    """

    event_shape: Shape
    latent_shape: Shape
    kind: Likelihood = Likelihood.EXACT
    latent_support: Support = Support.REAL
    free_axes: tuple[int, ...] = ()

    def forward(self, x: Tensor, condition: Condition | None = None) -> Posterior:
        """The posterior of each row."""
        check_shape(type(self).__name__, "x", x, self.event_shape, free=self.free_axes)
        return self._forward(self.standardized(x), condition)

    @abstractmethod
    def _forward(self, x: Tensor, condition: Condition | None) -> Posterior: ...
