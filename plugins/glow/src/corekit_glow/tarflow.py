"""A flow of images made of transformer blocks."""

from functools import partial

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.actnorm import ActNorm
from corekit.flows.compose import Chain, Factory
from corekit.flows.squeeze import Flatten
from corekit_glow.transformer import TransformerBlock


class Tarflow(Chain):
    """Transformer blocks over the patches of images, every other one from the last patch on.

    It takes what `Glow` takes and gives what it gives, a vector of standard normal numbers, so one
    can stand where the other stood. There is one scale: no squeeze, and nothing leaves early. An
    ActNorm in front makes channels of mean 0 and variance 1 of data in any range.

    A likelihood costs one pass. A sample costs one as well in numbers to compute, but one patch
    waits for the next, in every block.

    Args:
        event_shape: ``(C, H, W)``; H and W multiples of ``patch``.
        context_shape: Shape of a context, which every block sees, or None.
        patch: Side of a patch, pixels.
        blocks: How many blocks.
        layers: Of the transformer of each.
        width: Numbers of a token inside a transformer, a multiple of ``heads``.
        heads: Of the attention.
        max_log_scale: Bound on |log scale| of each block, nats (`TransformerBlock`); None for none.

    Shape: x ``(B, C, H, W)``, z ``(B, C H W)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event is no image, or a side is no multiple of the patch.
        UsageError: If an option is out of range.

    Source: Zhai et al., Normalizing Flows are Capable Generative Models, 2024, section 2.2,
        https://arxiv.org/abs/2412.06329; there data lie in [-1, 1] and no ActNorm is in front.
    """

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        patch: int = 4,
        blocks: int = 8,
        layers: int = 4,
        width: int = 256,
        heads: int = 4,
        max_log_scale: float | None = 7.0,
    ) -> None:
        if blocks < 1:
            raise UsageError(f"Tarflow: blocks must be at least 1, got {blocks}.")
        block = partial(
            TransformerBlock,
            patch=patch,
            layers=layers,
            width=width,
            heads=heads,
            max_log_scale=max_log_scale,
        )
        turns: list[Factory] = [
            partial(block, order="backward" if i % 2 else "forward") for i in range(blocks)
        ]
        super().__init__(event_shape, context_shape, of=[ActNorm, *turns, Flatten])
