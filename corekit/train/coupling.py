"""Parts whose result for a row depends on the other rows of its batch."""

import warnings

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_LISTED = 6


def coupled(model: nn.Module) -> list[str]:
    """The names of batch norms, and of parts that say ``rows_coupled``; the innermost only."""

    def says(part: nn.Module) -> bool:
        norm = isinstance(part, _BatchNorm) and not isinstance(part, nn.SyncBatchNorm)
        return norm or bool(getattr(part, "rows_coupled", False))

    return [
        f"{name} ({type(part).__name__})"
        for name, part in model.named_modules()
        if says(part) and not any(says(m) for m in part.modules() if m is not part)
    ]


def warn_of_coupled(model: nn.Module, batch_size: int, world: int) -> None:
    """Warn that these parts see a share of the batch in each of several processes."""
    names = coupled(model)
    if world == 1 or not names:
        return
    shown = ", ".join(names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    warnings.warn(
        f"Trainer: {shown}{more} couple the rows of a batch: each of {world} processes sees "
        f"{batch_size // world} rows of {batch_size}, so training differs from that of one "
        "process. The weights stay the same in all.",
        stacklevel=3,
    )
