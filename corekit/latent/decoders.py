"""A Gaussian decoder with a perceptron for its mean."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.density import Decoder
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Condition
from corekit.nn.mlp import mlp


class GaussianDecoder(Decoder):
    r"""p(x | z) = N(m(z), s^2 I), m a multilayer perceptron.

    .. math:: \log p(x \mid z) = -\tfrac12 \sum_d \big[(x_d - m_d)^2 / s^2 + \log 2\pi s^2\big]

    Args:
        event_shape: Shape of x without the batch.
        latent_shape: Shape of z without the batch.
        hidden: Widths of the hidden layers; empty for a linear map.
        scale: Standard deviation s, in units of the data.
        learn_scale: Whether s is a parameter (its logarithm is).

    Shape: x ``(B, *event_shape)``; z ``(B, *latent_shape)``; log_prob ``(B,)``, nats.
    """

    def __init__(
        self,
        event_shape: Shape,
        latent_shape: Shape,
        *,
        hidden: Sequence[int] = (256, 256),
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__()
        if not scale > 0:
            raise UsageError(f"GaussianDecoder: scale must be positive, got {scale}.")
        self.event_shape = tuple(event_shape)
        self.condition_shapes = {"vector": tuple(latent_shape)}
        self.network = mlp(math.prod(latent_shape), math.prod(event_shape), hidden)
        log_scale = torch.tensor(math.log(scale))
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def mean(self, condition: Condition | None) -> Tensor:
        """m(z), ``(B, *event_shape)``."""
        z = Condition.vector_of(condition, "GaussianDecoder")
        return self.network(z.flatten(1)).reshape(z.shape[0], *self.event_shape)

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        wide = torch.promote_types(x.dtype, torch.float32)
        error = (x - self.mean(condition)).to(wide).flatten(1)
        scaled = (error * (-self.log_scale).exp()).square()
        return LogProb(-0.5 * (scaled + 2 * self.log_scale + math.log(2 * math.pi)).sum(1))

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        with torch.no_grad():
            mean = self.mean(condition)
            noise = draws.normal("x", tuple(mean.shape), mean)
            return mean + temperature * self.log_scale.exp() * noise
