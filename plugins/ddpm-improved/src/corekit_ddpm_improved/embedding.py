"""What every block of a denoiser is told: the noise level, a class, a vector."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.interfaces.records import Condition
from corekit_ddpm_improved.layers import sinusoids


class Embedding(nn.Module):
    r"""Sinusoids of the time through a small perceptron, and what the condition adds to it.

    .. math:: e = W_2 \, \text{SiLU}(W_1 \, s(t)) + E_y + W_v v

    A label of -1 adds nothing: classes can be dropped, and guidance has something to leave out.

    Args:
        channels: Width of the sinusoids; e is four times as wide.
        condition_shapes: vector ``(V, ...)`` and labels ``()``, where they are given.
        classes: Number of classes, with labels.
        who: The network, where it speaks of itself.

    Shape: time ``(B,)``, about 0 to 1000; e ``(B, 4 * channels)``.
    """

    def __init__(
        self,
        channels: int,
        condition_shapes: Mapping[str, Shape],
        classes: int | None,
        *,
        who: str = "UNet",
    ) -> None:
        super().__init__()
        self.who = who
        self.channels, self.width = channels, 4 * channels
        self.hidden = nn.Linear(channels, self.width)
        self.out = nn.Linear(self.width, self.width)
        self.label = nn.Embedding(classes, self.width) if classes is not None else None
        vector = condition_shapes.get("vector")
        self.vector = None if vector is None else nn.Linear(math.prod(vector), self.width)

    def forward(self, time: Tensor, condition: Condition | None = None) -> Tensor:
        """e."""
        # The sinusoids of a time in half precision would be those of another time.
        wave = sinusoids(time, self.channels).to(self.hidden.weight.dtype)
        e: Tensor = self.out(silu(self.hidden(wave)))
        if self.label is not None and condition is not None and condition.labels is not None:
            e = e + self._of_class(condition.labels)
        if self.vector is not None:
            v = Condition.vector_of(condition, "Embedding")
            e = e + self.vector(v.flatten(1).to(e.dtype))
        return e

    def _of_class(self, labels: Tensor) -> Tensor:
        table: nn.Embedding = self.label  # type: ignore[assignment]
        looked_at = labels.device.type == "cpu" and not torch.compiler.is_compiling()
        if looked_at and bool((labels >= table.num_embeddings).any()):
            raise UsageError(
                f"{self.who}: labels must be below classes = {table.num_embeddings}, got "
                f"{int(labels.max())}."
            )
        found = table(labels.clamp(min=0))
        return torch.where((labels < 0)[:, None], torch.zeros_like(found), found)
