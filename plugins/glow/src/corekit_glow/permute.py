"""Fixed orders of the channels, by the names of Glow."""

from typing import Literal

from corekit.data_spec import Shape
from corekit.flows.permute import Permute


class GlowPermute(Permute):
    r"""The channels in reverse, or shuffled: what Glow compares its 1x1 convolutions with.

    .. math:: z_i = x_{order[i]}

    The order is a buffer: it is saved, and a state dict that was made with another is refused.

    Args:
        event_shape: Shape of x without the batch; the first axis is permuted.
        context_shape: Not used: the map has no context.
        order: reverse or shuffle.
        seed: Of the shuffle; give each layer its own.

    Shape: x, z ``(B, C, ...)``; logdet ``(B,)``, zeros.

    Raises:
        ShapeError: If the event has no axis.
        UsageError: If there is no such order.

    Source: Kingma and Dhariwal, Glow, NeurIPS 2018, section 6, https://arxiv.org/abs/1807.03039.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        order: Literal["reverse", "shuffle"] = "shuffle",
        seed: int = 0,
    ) -> None:
        named = "random" if order == "shuffle" else order
        super().__init__(event_shape, context_shape, order=named, seed=seed)
