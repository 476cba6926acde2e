"""The Observation interface: the distribution of data, given what a decoder's network says."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import NoDensity, PluginError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb


class Observation(nn.Module, ABC):
    r"""p(x | parameters), the likelihood of a decoder; what a spec calls ``likelihood``.

    **Implement one.** Take ``event_shape`` first in the constructor, set ``parameter_shape``, and
    write ``_log_prob``, ``mean`` and ``sample``. One whose loss is no likelihood has the kind
    ``none`` and writes ``_loss`` instead of ``_log_prob``.

    Attributes:
        event_shape: Shape of x without the batch.
        parameter_shape: Shape of what the network gives, ``(B, *parameter_shape)``; for images the
            channels grow, height and width stay.
        kind: What `log_prob` is (`Likelihood`).
        support: Where x must lie.
        unit: What the loss is measured in.

    Shape: parameters ``(B, *parameter_shape)``; x ``(B, *event_shape)``; log_prob ``(B,)``, nats,
        float32 or wider.
    """

    event_shape: Shape
    parameter_shape: Shape
    kind: Likelihood = Likelihood.EXACT
    support: Support = Support.REAL
    unit: str = "nats"

    def __init__(self, event_shape: Shape) -> None:
        super().__init__()
        self.event_shape = self.parameter_shape = tuple(event_shape)

    def prepare(self, data: DataSpec) -> None:
        """Called once with what the data are: refuse data that it is no distribution of."""

    def loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        """What training minimises, ``(B,)``, in ``unit``, and the terms it is made of."""
        return self._loss(parameters, x)

    def log_prob(self, parameters: Tensor, x: Tensor) -> LogProb:
        """log p(x | parameters), nats.

        Raises:
            NoDensity: If its kind is ``none``.
        """
        if self.kind is Likelihood.NONE:
            raise NoDensity(
                f"{type(self).__name__}: log_prob must have a likelihood, got kind 'none'. "
                "Its loss is an error, not nats."
            )
        return LogProb(self._log_prob(parameters, x), self.kind)

    @abstractmethod
    def mean(self, parameters: Tensor) -> Tensor:
        """E[x | parameters], ``(B, *event_shape)``."""

    @abstractmethod
    def sample(self, parameters: Tensor, temperature: float, draws: Draws) -> Tensor:
        """One x per row; a temperature of 0 gives the mean, or the mode of what is discrete."""

    def _log_prob(self, parameters: Tensor, x: Tensor) -> Tensor:
        raise PluginError(
            f"{type(self).__name__}: must write _log_prob, or have the kind 'none' and write "
            "_loss, got neither. A bug of the package of the likelihood."
        )

    def _loss(self, parameters: Tensor, x: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
        nll = -self._log_prob(parameters, x)
        return nll, {"nll": nll}
