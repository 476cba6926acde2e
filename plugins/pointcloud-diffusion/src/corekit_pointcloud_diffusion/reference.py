"""What the reference computes and nobody should by default: for parity only."""

import math

import torch
from torch import Tensor

from corekit.errors import ShapeError
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Condition, LossTerms


class DpmNormal(StandardNormal):
    r"""A standard normal whose *loss* has the constant of the reference.

    The reference subtracts D/2 log 2 pi from each of the D dimensions, so its loss is larger by
    D (D - 1) / 2 log 2 pi nats (59,988 at D = 256). Gradients are the same. ``log_prob`` is right.

    Shape: x ``(B, D)``.
    Source: diffusion-point-cloud, models/common.py (PointFlow has the same line).
    """

    def _loss(self, x: Tensor, condition: Condition | None, draws: Draws) -> LossTerms:
        features = math.prod(self.event_shape)
        offset = 0.5 * features * (features - 1) * math.log(2 * math.pi)
        nll = -self._log_prob(x, condition, draws).value + offset
        return LossTerms(nll, {"nll": nll}, units={"nll": "nats plus a constant"})


def dpm_truncated_normal(draws: Tensor, bound: float = 2.0) -> Tensor:
    """The first of four draws within the bound, else the first of all.

    P(a number outside is kept) = P(|v| >= bound)^4, 4.3e-6 at 2 sd. Use ``truncate`` of `sample`,
    which is exact. The argument is not changed.

    Shape: draws ``(..., 4)``; result ``(...)``.
    """
    if draws.shape[-1] != 4:
        raise ShapeError(
            f"dpm_truncated_normal: draws must have shape (..., 4), got {tuple(draws.shape)}."
        )
    first = (draws.abs() < bound).to(torch.int8).argmax(-1, keepdim=True)
    return draws.gather(-1, first).squeeze(-1)
