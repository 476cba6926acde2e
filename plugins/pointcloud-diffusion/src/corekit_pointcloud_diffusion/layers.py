"""What denoisers of clouds share: time features, classes, attention, an embedding of it all."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition, NoiseLevel


def time_features(time: Tensor, width: int = 32) -> Tensor:
    """Sines, then cosines, of 1000 x time at frequencies from 1 to near 1e-4: ``(B, width)``."""
    half = width // 2
    count = torch.arange(half, device=time.device, dtype=time.dtype)
    angles = 1000 * time.unsqueeze(1) * torch.exp(count * (-math.log(10_000) / half))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def taken(
    who: str, given: Mapping[str, Shape] | None, classes: int | None, names: tuple[str, ...]
) -> dict[str, Shape]:
    """The conditions of the data that a network takes; labels only if it has classes.

    Raises:
        ShapeError: If it has classes but the data have no labels.
    """
    found = {name: tuple(shape) for name, shape in (given or {}).items() if name in names}
    if classes is None:
        found.pop("labels", None)
    elif "labels" not in found:
        raise ShapeError(
            f"{who}: classes must meet the condition 'labels', got {classes} and the conditions "
            f"{', '.join(given or {}) or 'none'}. Let the data give labels, or leave classes out."
        )
    return found


class Classes(nn.Embedding):
    """A vector for each class, and one for no class (label -1). Shape: ``(B,)`` to ``(B, width)``.

    Raises:
        UsageError: If a label is not below the number of classes.
    """

    def __init__(self, who: str, classes: int, width: int) -> None:
        super().__init__(1 + classes, width)  # row 0: no class
        self.who = who

    def forward(self, labels: Tensor) -> Tensor:
        """The vector of each label."""
        looked_at = labels.device.type == "cpu" and not torch.compiler.is_compiling()
        if looked_at and bool((labels + 1 >= self.num_embeddings).any()):
            raise UsageError(
                f"{self.who}: labels must be below classes = {self.num_embeddings - 1}, got "
                f"{int(labels.max())}."
            )
        return super().forward(labels.clamp(min=-1) + 1)


class Context(nn.Module):
    r"""What steers every layer: the noise level, a vector and a class.

    .. math:: c = \text{SiLU}(W_2 \, \text{SiLU}(W_1 \, s(t)) + W_v v + E_y)

    Args:
        who: The network, where it speaks of itself.
        condition_shapes: vector ``(V, ...)`` and labels ``()``, where they are taken.
        classes: Number of classes, with labels.
        width: Of c; even.

    Shape: c ``(B, width)``.
    """

    def __init__(
        self, who: str, condition_shapes: Mapping[str, Shape], classes: int | None, width: int
    ) -> None:
        super().__init__()
        self.who, self.width = who, width
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        vector = condition_shapes.get("vector")
        self.vector = None if vector is None else nn.Linear(math.prod(vector), width)
        self.label = None if classes is None else Classes(who, classes, width)

    def forward(self, level: NoiseLevel, condition: Condition | None, dtype: torch.dtype) -> Tensor:
        """c, from features of the time in its own precision."""
        c: Tensor = self.time(time_features(level.time, self.width).to(dtype))
        if self.vector is not None:
            c = c + self.vector(Condition.vector_of(condition, self.who).flatten(1).to(dtype))
        if self.label is not None and condition is not None and condition.labels is not None:
            c = c + self.label(condition.labels)
        return silu(c)


class Attention(nn.Module):
    r"""Rows of one set look at the rows of another, or of their own.

    .. math:: W_o \, \text{softmax}(q k^\top / \sqrt d)\, v, \qquad q = W_q a, \; (k, v) = W_{kv} b

    Args:
        features: Of a, and of the result.
        of: Features of b.
        inside: Features of q, k and v over all heads.
        heads: Divides ``inside``.

    Shape: a ``(B, n, features)``, b ``(B, m, of)``; allowed ``(B, m)``, True where b may be seen.
    """

    def __init__(self, features: int, of: int, inside: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.kv = nn.Linear(features, inside), nn.Linear(of, 2 * inside)
        self.out = nn.Linear(inside, features)

    def forward(self, a: Tensor, b: Tensor, allowed: Tensor | None = None) -> Tensor:
        """What each row of a finds."""
        q = self.q(a).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, n, d)
        k, v = self.kv(b).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if allowed is None else allowed[:, None, None]
        seen = scaled_dot_product_attention(q, k, v, mask)
        found: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return found


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The same layer with weights and biases of zero."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
