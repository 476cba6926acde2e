"""The uniform prior of categorical variables."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from corekit.data_spec import Shape, Support
from corekit.errors import ShapeError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.records import Condition


class UniformCategories(Prior):
    r"""Independent variables of K categories, all alike, as one-hot codes side by side.

    .. math:: \log p(z) = -N \log K

    the probability of a code; a relaxed code is given that of a corner. A uniform law to any power
    is itself, so a temperature changes nothing.

    Args:
        event_shape: Shape of z without the batch, ``(N * K, *space)``.
        condition: Not used: it is unconditional.
        categories: K.

    Shape: z ``(B, *event_shape)``; log_prob ``(B,)``, nats.

    Raises:
        ShapeError: If K does not divide the first axis.
    """

    support = Support.SIMPLEX
    anchor: Tensor

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        categories: int = 10,
    ) -> None:
        super().__init__()
        self.event_shape, self.categories = tuple(event_shape), categories
        if categories < 2 or self.event_shape[0] % categories:
            raise ShapeError(
                "UniformCategories: categories must be at least 2 and divide the first axis of "
                f"{self.event_shape}, got {categories}. Give the posterior's number."
            )
        self.register_buffer("anchor", torch.zeros(()), persistent=False)  # carries dtype, device

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        variables = math.prod(self.event_shape) // self.categories
        return LogProb(0 * wide.flatten(1).sum(1) - variables * math.log(self.categories))

    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        variables = (n, shape[0] // self.categories, *shape[1:])
        chosen = draws.integers("category", self.categories, variables, self.anchor.device)
        codes = one_hot(chosen, self.categories).movedim(-1, 2)
        return codes.flatten(1, 2).to(self.anchor.dtype)
