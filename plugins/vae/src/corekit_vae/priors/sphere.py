"""The uniform prior on the unit sphere."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Condition
from corekit_vae.posteriors.polar import log_area


class UniformSphere(Prior):
    r"""Every direction alike: uniform on the unit sphere in m dimensions.

    .. math:: \log p(z) = -\log |S^{m-1}| = \log \Gamma(m / 2) - \log 2 - \tfrac m2 \log \pi

    relative to area, for z of unit norm. A uniform density to any power is itself, so a temperature
    changes nothing.

    Args:
        event_shape: Shape of z without the batch, m numbers.
        condition: Not used: it is unconditional.

    Shape: z ``(B, *event_shape)``; log_prob ``(B,)``, nats.
    """

    support = Support.SPHERE
    anchor: Tensor

    def __init__(self, event_shape: Shape, condition: Mapping[str, Shape] | None = None) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        if math.prod(self.event_shape) < 2:
            raise ShapeError(
                "UniformSphere: the latent must have at least 2 numbers, got shape "
                f"{self.event_shape}."
            )
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype, device

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return LogProb(0 * wide.flatten(1).sum(1) - log_area(math.prod(self.event_shape)))

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        noise = draws.normal("base", (n, *shape), self.anchor)
        return torch.nn.functional.normalize(noise.flatten(1), dim=1).reshape(noise.shape)
