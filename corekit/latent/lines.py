"""Lines between latents: straight, or by way of the noise that a flow makes latents of."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.flows.prior import FlowPrior, StandardNormal
from corekit.interfaces.density import Prior
from corekit.interfaces.records import Condition
from corekit.nn.lines import great_circle

Along = Literal["latent", "base", "sphere"]


def latents_between(
    start: Tensor,
    end: Tensor,
    steps: int,
    along: Along = "latent",
    prior: Prior | None = None,
    given: Condition | None = None,
) -> Tensor:
    """Latents on a line, both ends among them.

    Args:
        start: The first of each line.
        end: The last.
        steps: How many there are.
        along: "latent": a straight line. "base": a straight line of the noise that the flow of the
            prior makes latents of. "sphere": an arc of that noise, whose points are as likely as
            draws of it.
        prior: Of the latents.
        given: What it is conditioned on.

    Shape: start, end ``(B, *latent_shape)``; ``(B, steps, *latent_shape)``.

    Raises:
        UsageError: If the noise is asked for and the prior is not a flow, nor standard normal.
    """
    there, back = _base_of(prior, along, given)
    a, b = there(start), there(end)
    shares = torch.linspace(0, 1, steps, dtype=a.dtype, device=a.device)
    line = great_circle if along == "sphere" else torch.lerp
    return torch.stack([back(line(a, b, share)) for share in shares], dim=1)


def _base_of(
    prior: Prior | None, along: Along, given: Condition | None
) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """From a latent to what is on a line, and back."""
    if along == "latent" or isinstance(prior, StandardNormal):
        return (lambda z: z), (lambda z: z)
    if not isinstance(prior, FlowPrior):
        raise UsageError(
            f"LatentModel: a line along '{along}' must have a prior that is a flow, got "
            f"{type(prior).__name__}. Take it along 'latent'."
        )
    flow = prior
    return (lambda z: flow.to_base(z, given)), (lambda w: flow.from_base(w, given))
