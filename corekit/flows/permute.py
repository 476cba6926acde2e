"""A fixed order of the features or channels."""

import random
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.flows.mixing import check_features
from corekit.interfaces.bijector import Bijector, no_logdet

Name = Literal["reverse", "random", "roll"]


class Permute(Bijector):
    r"""The features, or the channels, in another order: z_i = x_{order[i]}.

    =======  ======================================================
    order    z
    =======  ======================================================
    reverse  the last one first
    random   an order drawn from the seed, the same everywhere
    roll     each one moved on by ``shift``, the last ones in front
    a list   its entry i says which x becomes z_i
    =======  ======================================================

    The order is a buffer: a state dict that was made with another one is refused.

    Args:
        event_shape: Shape of x without the batch; the first axis is permuted.
        context_shape: Not used: the map has no context.
        order: reverse, random, roll, or the numbers 0 … D - 1 in the order wanted.
        seed: Of the random order.
        shift: Of roll.

    Shape: x, z ``(B, D, ...)``; logdet ``(B,)``, zeros.

    Raises:
        ShapeError: If the event has no axis, or the list does not have its length.
        UsageError: If the list is no permutation, or a state dict has another order.

    Example:
        >>> Permute((4,), order="roll")(torch.arange(4.0)[None])[0]
        tensor([[3., 0., 1., 2.]])
    """

    order: Tensor
    back: Tensor

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        order: Name | Sequence[int] = "reverse",
        seed: int = 0,
        shift: int = 1,
    ) -> None:
        super().__init__()
        check_features("Permute", event_shape)
        self.event_shape = tuple(event_shape)
        places = _places(event_shape[0], order, seed, shift)
        back = sorted(range(len(places)), key=places.__getitem__)
        self.register_buffer("order", torch.tensor(places, dtype=torch.int64))
        self.register_buffer("back", torch.tensor(back, dtype=torch.int64), persistent=False)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return x.index_select(1, self.order), no_logdet(x)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return z.index_select(1, self.back), no_logdet(z)

    def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
        stored = state.get(f"{prefix}order")
        if stored is not None and not self.order.is_meta and not stored.is_meta:
            ours, theirs = self.order.tolist(), stored.tolist()
            if ours != theirs:
                raise UsageError(
                    f"Permute: a state dict must have the order of the layer, {_short(ours)}, got "
                    f"{_short(theirs)}. Build it with the same order and seed, or with this list."
                )
        super()._load_from_state_dict(state, prefix, *args)


def _places(features: int, order: Name | Sequence[int], seed: int, shift: int) -> list[int]:
    """Which x becomes z_i."""
    places = list(range(features))
    if order == "reverse":
        return places[::-1]
    if order == "roll":
        return [(i - shift) % features for i in places]
    if order == "random":
        random.Random(seed).shuffle(places)
        return places
    if isinstance(order, str):
        raise UsageError(f"Permute: order must be reverse, random, roll or a list, got {order!r}.")
    if len(order) != features:
        raise ShapeError(
            f"Permute: order must have one entry for each of {features} features, got {len(order)}."
        )
    if sorted(order) != places:
        raise UsageError(
            f"Permute: order must hold each of 0 to {features - 1} once, got {_short(order)}."
        )
    return list(order)


def _short(order: Sequence[int]) -> str:
    return str(list(order)) if len(order) <= 12 else f"{list(order[:12])[:-1]}…"
