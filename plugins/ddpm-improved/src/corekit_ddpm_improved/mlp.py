"""A residual perceptron for vectors."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.denoiser import Denoiser, Predicts, Variance
from corekit.interfaces.records import Condition, NoiseLevel
from corekit.nn.recompute import recomputed
from corekit_ddpm_improved.conditions import taken
from corekit_ddpm_improved.embedding import Embedding
from corekit_ddpm_improved.layers import zeroed


class MlpDenoiser(Denoiser):
    r"""Residual layers over a vector, told the noise level by scale and shift.

    .. math::
        h_{i+1} = h_i + W_2 \, \text{dropout}(\text{SiLU}(W_1 ((1 + s_i) \odot \text{norm}(h_i)
            + b_i))), \qquad (s_i, b_i) = V_i \, \text{SiLU}(e)

    e is made of the noise level, a class and a vector (`Embedding`). W_2 and the last layer start
    at zero, so a new network says 0.

    Args:
        event_shape: ``(D,)``.
        condition_shapes: Any of vector ``(V, ...)`` and labels ``()``. A label of -1 is no class.
        out_channels: D, 2 D if variances are learned; or None.
        hidden: Width of h and, about, of e; at least 8.
        depth: Residual layers.
        dropout: Probability, inside them.
        classes: Number of classes, if labels condition it.
        variance: What a second half of the output says of the variance: "log" or "range"; "fixed":
            there is none.
        self_condition: Whether it sees its earlier estimate of x_0 as well (zeros if none).
        predicts: What the first half of the output is.

    Shape: x_t ``(B, D)``; output the same, or ``(B, 2 D)``.

    Raises:
        ShapeError: If the event is no vector, a condition is missing, or out_channels does not fit.
        UsageError: If an option is out of range.

    Source: He et al., Identity Mappings in Deep Residual Networks, ECCV 2016,
        https://arxiv.org/abs/1603.05027; scale and shift: Perez et al., FiLM, AAAI 2018,
        https://arxiv.org/abs/1709.07871.

    Example:
        >>> from corekit.diffusion.schedules import Rectified
        >>> level = Rectified().at(torch.tensor([0.5, 0.5]))
        >>> MlpDenoiser((2,), predicts="velocity")(torch.ones(2, 2), level)
        tensor([[0., 0.],
                [0., 0.]], grad_fn=<AddmmBackward0>)
    """

    recompute = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        out_channels: int | None = None,
        *,
        hidden: int = 128,
        depth: int = 3,
        dropout: float = 0.0,
        classes: int | None = None,
        variance: Variance = "fixed",
        self_condition: bool = False,
        predicts: Predicts = "eps",
    ) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        if len(self.event_shape) != 1:
            raise ShapeError(f"MlpDenoiser: the event must be (D,), got {self.event_shape}.")
        if hidden < 8 or depth < 1:
            raise UsageError(
                f"MlpDenoiser: hidden must be at least 8 and depth at least 1, got {hidden} and "
                f"{depth}."
            )
        self.condition_shapes = taken(
            "MlpDenoiser", condition_shapes or {}, classes, ("vector", "labels")
        )
        self.variance, self.predicts, self.self_condition = variance, predicts, self_condition
        size = self.event_shape[0]
        out = size * (2 if self.learns_variance else 1)
        if out_channels not in (None, out):
            raise ShapeError(f"MlpDenoiser: out_channels must be {out}, got {out_channels}.")
        self.embedding = Embedding(hidden // 4, self.condition_shapes, classes, who="MlpDenoiser")
        self.stem = nn.Linear(size * (2 if self_condition else 1), hidden)
        width = self.embedding.width
        self.layers = nn.ModuleList(_Layer(hidden, width, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(hidden), zeroed(nn.Linear(hidden, out))

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        silu_e = silu(self.embedding(1000 * level.time, condition))
        if self.self_condition:
            earlier = torch.zeros_like(x_t) if previous is None else previous.to(x_t.dtype)
            x_t = torch.cat([x_t, earlier], dim=1)
        h = self.stem(x_t)
        for layer in self.layers:
            h = recomputed(self, layer, h, silu_e)
        output: Tensor = self.head(silu(self.norm(h)))
        return output


class _Layer(nn.Module):
    """One residual layer."""

    def __init__(self, hidden: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.embed = nn.Linear(embedding, 2 * hidden)
        self.first, self.dropout = nn.Linear(hidden, hidden), nn.Dropout(dropout)
        self.last = zeroed(nn.Linear(hidden, hidden))

    def forward(self, h: Tensor, silu_e: Tensor) -> Tensor:
        scale, shift = self.embed(silu_e).chunk(2, dim=1)
        inner = self.first(torch.addcmul(shift, self.norm(h), 1 + scale))
        y: Tensor = h + self.last(self.dropout(silu(inner)))
        return y
