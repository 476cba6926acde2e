"""Parts whose result for a row depends on the other rows of its batch."""

import warnings

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

_LISTED = 6


def coupled(model: nn.Module) -> list[str]:
    """The names of batch norms, and of parts that say ``rows_coupled``; the innermost only.

    Those in evaluation mode, which frozen parts are in, couple nothing.
    """

    def says(part: nn.Module) -> bool:
        norm = isinstance(part, _BatchNorm) and not isinstance(part, nn.SyncBatchNorm)
        return part.training and (norm or bool(getattr(part, "rows_coupled", False)))

    return [
        f"{name} ({type(part).__name__})"
        for name, part in model.named_modules()
        if says(part) and not any(says(m) for m in part.modules() if m is not part)
    ]


def warn_of_coupled(model: nn.Module, batch_size: int, world: int = 1, accumulate: int = 1) -> None:
    """Warn that these parts see shares of a batch: in several processes, or accumulated."""
    names = coupled(model)
    if (world == 1 and accumulate == 1) or not names:
        return
    shown = ", ".join(names[:_LISTED])
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    shares = ((accumulate, "accumulated parts"), (world, "processes"))
    where = " in ".join(f"each of {n} {what}" for n, what in shares if n > 1)
    rows = -(-(batch_size // world) // accumulate)  # the last part may be smaller
    same = " The weights stay the same in all processes." if world > 1 else ""
    warnings.warn(
        f"Trainer: {shown}{more} couple the rows of a batch: {where} sees {rows} rows of "
        f"{batch_size}, so training differs from that on whole batches.{same}",
        stacklevel=3,
    )
