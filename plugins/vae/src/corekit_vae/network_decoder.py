"""A decoder that is a network, and a likelihood on top of it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape
from corekit.interfaces.density import Decoder
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.observation import Observation
from corekit.interfaces.records import Condition, LossTerms


class NetworkDecoder(Decoder):
    r"""p(x | z) = likelihood(x | network(z)).

    A subclass builds the network, whose output has ``self.likelihood.parameter_shape``, and writes
    ``parameters``.

    Args:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        likelihood: Factory of the likelihood, called with event_shape.

    Shape: x ``(B, *event_shape)``; z ``(B, *latent_shape)``; log_prob ``(B,)``, nats.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        likelihood: Callable[..., Observation],
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.condition_shapes: Mapping[str, Shape] = {"vector": tuple(latent_shape)}
        self.likelihood = likelihood(event_shape=self.event_shape)
        self.kind, self.support = self.likelihood.kind, self.likelihood.support

    def prepare(self, data: DataSpec) -> None:
        """Let the likelihood see what the data are."""
        self.likelihood.prepare(data)

    @abstractmethod
    def parameters_of(self, z: Tensor) -> Tensor:
        """What the likelihood is given, ``(B, *likelihood.parameter_shape)``."""

    def mean(self, condition: Condition | None) -> Tensor:
        """E[x | z], ``(B, *event_shape)``."""
        return self.likelihood.mean(self._of(condition))

    def _of(self, condition: Condition | None) -> Tensor:
        return self.parameters_of(Condition.vector_of(condition, type(self).__name__))

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        return self.likelihood.log_prob(self._of(condition), x)

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        total, terms = self.likelihood.loss(self._of(condition), x)
        return LossTerms(total, terms, units=dict.fromkeys(terms, self.likelihood.unit))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        return self.likelihood.sample(self._of(condition), temperature, draws)
