"""Sampling a flow that ends in mixtures by their components, without inverting them."""

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.flows.compose import Chain
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws

SampleBy = Literal["inversion", "components"]


def check_components(bijector: Bijector, base: Density) -> None:
    """Refuse a flow that `by_components` cannot sample.

    Raises:
        UsageError: If the last member has no ``ancestral``, or the base makes it no mixture.
    """
    *_, last = _members(bijector)
    wanted = getattr(getattr(last, "univariate", None), "base", None)
    if getattr(last, "ancestral", None) is None or wanted is None:
        raise UsageError(
            "components: the flow must end in an autoregressive layer of mixtures, got "
            f"{type(last).__name__}. Leave `components` out (sample_by: inversion): it is then "
            "inverted."
        )
    if type(base).__name__ != wanted:
        raise UsageError(
            f"components: the base must be {wanted}, got {type(base).__name__}. With another base "
            "the layer is no mixture: leave `components` out (sample_by: inversion)."
        )


@torch.no_grad()
def by_components(
    bijector: Bijector,
    base: Density,
    n: int,
    context: Tensor | None,
    temperature: float,
    draws: Draws,
) -> Tensor:
    """n samples of a flow whose last member can draw from its mixtures (``ancestral``).

    The members before it are inverted as always. The distribution is that of inverted samples of
    the base, so the base must be the one that makes the last member a mixture.

    Raises:
        UsageError: If the last member has no such method, or the base is another.
    """
    check_components(bijector, base)
    last: Any
    *before, last = _members(bijector)
    state = next((t for t in last.state_dict().values() if t.is_floating_point()), torch.zeros(()))
    like = torch.empty(n, *last.event_shape, dtype=state.dtype, device=state.device)
    x: Tensor = last.ancestral(like, _given(last, context), draws, temperature)
    for member in reversed(before):
        x, _ = member.inverse(x, _given(member, context))
    return x


def _members(bijector: Bijector) -> Iterator[Bijector]:
    if not isinstance(bijector, Chain):
        yield bijector
        return
    for member in bijector:
        yield from _members(member)


def _given(member: Bijector, context: Tensor | None) -> Tensor | None:
    return None if member.context_shape is None else context
