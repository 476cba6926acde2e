"""Classes as vectors."""

import torch
from torch import Tensor

from corekit.errors import UsageError


def one_hot(who: str, labels: Tensor, classes: int) -> Tensor:
    """Labels 0 to classes - 1, ``(B,)``, as bool ``(B, classes)``; the null label -1 gives zeros.

    Raises:
        UsageError: If a label is none of these. On a CPU alone: elsewhere it would be waited for.
    """
    if labels.device.type == "cpu" and bool(((labels < -1) | (labels >= classes)).any()):
        raise UsageError(
            f"{who}: labels must lie in 0 to {classes - 1}, or be -1 for none, got "
            f"{int(labels.min())} to {int(labels.max())}. Set classes to their number."
        )
    return labels[:, None] == torch.arange(classes, device=labels.device)
