"""The ways of a U-Net from its finest grid to the coarsest, and back."""

from collections.abc import Callable, Sequence

from torch import nn

from corekit.errors import UsageError
from corekit_ddpm_improved.blocks import Resampling, ResBlock, SelfAttention, Stage


def way_down(
    widths: Sequence[int],
    blocks: int,
    block: Callable[..., ResBlock],
    change: Callable[..., Resampling | ResBlock],
    see: Callable[..., SelfAttention | None],
) -> tuple[nn.ModuleList, list[int]]:
    """The stages from the finest grid to the coarsest, and the width of every connection."""
    stages, width = nn.ModuleList(), widths[0]
    skips = [width]
    for level, wide in enumerate(widths):
        for _ in range(blocks):
            stages.append(Stage(block(width, wide), see(wide, 2**level)))
            width = wide
            skips.append(width)
        if level < len(widths) - 1:
            stages.append(Stage(resample=change(width, "down")))
            skips.append(width)
    return stages, skips


def way_up(
    widths: Sequence[int],
    blocks: int,
    block: Callable[..., ResBlock],
    change: Callable[..., Resampling | ResBlock],
    see: Callable[..., SelfAttention | None],
    skips: list[int],
) -> nn.ModuleList:
    """The stages back, each of which takes the last connection that is left."""
    stages, width = nn.ModuleList(), widths[-1]
    for level, wide in reversed(list(enumerate(widths))):
        for i in range(blocks + 1):
            after = change(wide, "up") if level and i == blocks else None
            stages.append(Stage(block(width + skips.pop(), wide), see(wide, 2**level), after))
            width = wide
    return stages


def resampling(
    width: int, to: str, *, how: str, dims: int, block: Callable[..., ResBlock]
) -> Resampling | ResBlock:
    """What halves ("down") or doubles ("up") a grid: a convolution, averages, or a block."""
    if how == "blocks":
        return block(width, width, resample=to)
    return Resampling(width, to, dims, convolution=how == "convolution")  # type: ignore[arg-type]


def attention_at(
    width: int,
    factor: int | None,
    *,
    factors: Sequence[int],
    heads: int,
    head_channels: int | None,
) -> SelfAttention | None:
    """Over a grid that is coarser by a factor of the list; the middle, None, always."""
    if factor is not None and factor not in factors:
        return None
    return SelfAttention(width, _heads(width, heads, head_channels))


def _heads(width: int, heads: int, head_channels: int | None) -> int:
    count = heads if head_channels is None else width // head_channels
    if count < 1 or width % count or (head_channels is not None and width % head_channels):
        what = f"{heads} heads" if head_channels is None else f"heads of {head_channels} channels"
        raise UsageError(f"UNet: attention over {width} channels must divide them, got {what}.")
    return count
