"""A normalizing flow as a whole model of data."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import DataSpec
from corekit.errors import NoDensity
from corekit.flows.compose import Factory
from corekit.flows.prior import FlowPrior
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Randomness
from corekit.interfaces.model import DensityModel
from corekit.interfaces.records import Condition


class FlowModel(DensityModel):
    """Maximum likelihood with a bijector over a base density.

    Args:
        data: What it is a model of.
        bijector: Factory of the map from data to latent.
        base: Factory of the base density, standard normal unless given.

    Shape: batch.x ``(B, *data.event_shape)``; loss and log_prob ``(B,)``, nats.
    """

    density: FlowPrior

    def __init__(
        self,
        data: DataSpec,
        *,
        bijector: "Factory | Bijector",
        base: Callable[..., Density] | None = None,
    ) -> None:
        super().__init__(
            data, FlowPrior(data.event_shape, data.condition_shapes, bijector=bijector, base=base)
        )

    def bits_per_dim(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """-log2 p(x) / D of data in bins of width ``data.bin_width``, ``(B,)``.

        Raises:
            NoDensity: If the data have no bins: a density alone has no bits.
        """
        if self.data.bin_width is None:
            raise NoDensity(
                "FlowModel: bits_per_dim must know the bin width of the data, got none."
            )
        dims = math.prod(self.data.event_shape)
        nats = self.log_prob(x, condition).value + dims * math.log(self.data.bin_width)
        return -nats / (dims * math.log(2))

    def encode(self, x: Tensor, condition: Condition | None = None) -> Tensor:
        """z = f(x)."""
        with torch.no_grad():
            return self.density.bijector(x, self.density._context(condition))[0]

    def decode(self, z: Tensor, *, generator: Randomness = None, **options: Any) -> Tensor:
        """x = f^-1(z)."""
        with torch.no_grad():
            return self.density.bijector.inverse(z)[0]
