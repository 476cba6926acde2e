"""Flows that follow a field, trained without solving anything: flow matching, and denoising."""

from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from corekit.interfaces.draws import Draws, Randomness
from corekit.interfaces.records import LossTerms

TrainBy = Literal["likelihood", "flow_matching", "denoising"]


@runtime_checkable
class HasVelocity(Protocol):
    """A bijector that follows a velocity field from time 0, the data, to time 1, the latents."""

    def velocity(self, x: Tensor, time: Tensor, context: Tensor | None = None) -> Tensor:
        """f(x, t, c); time ``(B,)``."""


@runtime_checkable
class Denoises(Protocol):
    """A bijector that is a diffusion model, with a loss of its own."""

    def denoising_loss(
        self, x: Tensor, context: Tensor | None = None, draws: Randomness = None
    ) -> LossTerms:
        """What it minimises; ``seen`` has paths below itself."""


NEEDED: dict[str, tuple[type, str]] = {
    "flow_matching": (HasVelocity, "with a velocity (realnvp.continuous)"),
    "denoising": (Denoises, "that is a diffusion (ddpm.probability_flow)"),
}
"""What a bijector must be to be trained so, and such a one."""


def matching_loss(
    bijector: HasVelocity, x: Tensor, z: Tensor, context: Tensor | None, draws: Draws
) -> LossTerms:
    r"""How far the velocity is from that of a straight line between data and a draw from the base.

    .. math:: \tfrac1D \big\| f\big((1 - t)\, x + t z,\, t,\, c\big) - (z - x) \big\|^2, \qquad
        t \sim U(0, 1)

    Its minimum is the mean velocity of all lines through a point, which carries the density of the
    data to the base. The loss there is not zero: lines cross.

    Shape: x, z ``(B, *event_shape)``; total ``(B,)``.
    Source: Lipman et al., Flow Matching, ICLR 2023, eq. 23, https://arxiv.org/abs/2210.02747.
    """
    time = draws.uniform("time", (len(x),), x)
    at = torch.lerp(x, z, time.reshape(-1, *(1,) * (x.ndim - 1)))
    wide = torch.promote_types(x.dtype, torch.float32)
    error = bijector.velocity(at, time, context).to(wide) - (z - x).to(wide)
    mse = error.square().flatten(1).mean(1)
    return LossTerms(mse, {"velocity": mse}, units={"velocity": "squared units of data"})
