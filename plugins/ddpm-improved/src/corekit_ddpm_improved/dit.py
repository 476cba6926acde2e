"""A diffusion transformer for images."""

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
from corekit_ddpm_improved.layers import attention, sinusoids, zeroed


class DiT(Denoiser):
    r"""A transformer over patches, in which the noise level and the condition steer every norm.

    .. math::
        h \leftarrow h + g_1 \odot \text{attention}((1 + s_1) \odot \text{norm}(h) + b_1), \qquad
        h \leftarrow h + g_2 \odot \text{mlp}((1 + s_2) \odot \text{norm}(h) + b_2)

    with :math:`(b_1, s_1, g_1, b_2, s_2, g_2) = W \, \text{SiLU}(e)` of the embedding e, where W
    starts at zero, so that a new block is the identity. Patches know their place by sines and
    cosines of its row and its column.

    Args:
        event_shape: ``(C, H, W)``.
        condition_shapes: Any of vector ``(V, ...)`` and labels ``()``. A label of -1 is no class.
        out_channels: C, 2 C if variances are learned; or None.
        patch: Side of the square patches; divides H and W.
        hidden: Width; a multiple of 4 and of the heads.
        depth: Blocks.
        heads: Of attention.
        mlp_ratio: Width inside an mlp, in multiples of hidden.
        dropout: Probability, inside the mlps.
        classes: Number of classes, if labels condition it.
        variance: What a second half of the output says of the variance: "log" or "range"; "fixed":
            there is none.
        self_condition: Whether it sees its earlier estimate of x_0 as well (zeros if none).
        predicts: What the first half of the output is.

    Shape: x_t ``(B, C, H, W)``; output the same, or with twice the channels.

    Raises:
        ShapeError: If the event is no image of whole patches, a condition is missing, or
            out_channels does not fit.
        UsageError: If an option is out of range.

    Source: Peebles and Xie, Scalable Diffusion Models with Transformers, ICCV 2023, section 3.2,
        https://arxiv.org/abs/2212.09748.
    """

    recompute = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        condition_shapes: Mapping[str, Shape] | None = None,
        out_channels: int | None = None,
        *,
        patch: int = 2,
        hidden: int = 128,
        depth: int = 4,
        heads: int = 4,
        mlp_ratio: float = 4.0,
        dropout: float = 0.0,
        classes: int | None = None,
        variance: Variance = "fixed",
        self_condition: bool = False,
        predicts: Predicts = "eps",
    ) -> None:
        super().__init__()
        self.event_shape, self.patch = tuple(event_shape), patch
        _check(self.event_shape, patch, hidden, heads, depth)
        self.condition_shapes = taken("DiT", condition_shapes or {}, classes, ("vector", "labels"))
        self.variance, self.predicts, self.self_condition = variance, predicts, self_condition
        channels, height, width = self.event_shape
        self.grid = height // patch, width // patch
        self.out = channels * (2 if self.learns_variance else 1)
        if out_channels not in (None, self.out):
            raise ShapeError(f"DiT: out_channels must be {self.out}, got {out_channels}.")
        self.embedding = Embedding(hidden // 4, self.condition_shapes, classes, who="DiT")
        seen = channels * (2 if self_condition else 1)
        self.stem = nn.Conv2d(seen, hidden, patch, stride=patch)
        inside = max(1, round(mlp_ratio * hidden))
        self.blocks = nn.ModuleList(_Block(hidden, heads, inside, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.steer = zeroed(nn.Linear(hidden, 2 * hidden))
        self.head = zeroed(nn.Linear(hidden, self.out * patch**2))

    def _forward(
        self, x_t: Tensor, level: NoiseLevel, condition: Condition | None, previous: Tensor | None
    ) -> Tensor:
        silu_e = silu(self.embedding(1000 * level.time, condition))
        if self.self_condition:
            earlier = torch.zeros_like(x_t) if previous is None else previous.to(x_t.dtype)
            x_t = torch.cat([x_t, earlier], dim=1)
        h = self.stem(x_t).flatten(2).transpose(1, 2)  # (B, patches, hidden)
        h = h + positions(self.grid, h.shape[2], h)
        for block in self.blocks:
            h = recomputed(self, block, h, silu_e)
        shift, scale = self.steer(silu_e)[:, None].chunk(2, dim=2)
        return self._as_image(self.head(torch.addcmul(shift, self.norm(h), 1 + scale)))

    def _as_image(self, rows: Tensor) -> Tensor:
        """``(B, patches, out * patch^2)`` as ``(B, out, H, W)``."""
        side = self.patch, self.patch
        pieces = rows.unflatten(2, (self.out, *side)).unflatten(1, self.grid)
        return pieces.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)  # (B, out, h p, w p)


class _Block(nn.Module):
    """Attention and an mlp, both steered."""

    def __init__(self, hidden: int, heads: int, inside: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.steer = zeroed(nn.Linear(hidden, 6 * hidden))
        self.norm = nn.LayerNorm(hidden, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.first, self.last = nn.Linear(hidden, inside), nn.Linear(inside, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, h: Tensor, silu_e: Tensor) -> Tensor:
        given = self.steer(silu_e)[:, None].chunk(6, dim=2)
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = given
        h = h + gate_1 * self._attention(torch.addcmul(shift_1, self.norm(h), 1 + scale_1))
        inner = self.first(torch.addcmul(shift_2, self.norm(h), 1 + scale_2))
        inner = nn.functional.gelu(inner, approximate="tanh")
        y: Tensor = h + gate_2 * self.last(self.dropout(inner))
        return y

    def _attention(self, h: Tensor) -> Tensor:
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen: Tensor = self.out(attention(q, k, v).transpose(1, 2).flatten(2))
        return seen


def positions(grid: tuple[int, int], width: int, like: Tensor) -> Tensor:
    """Sinusoids of the row, then of the column, of each place of a grid: ``(h * w, width)``."""
    wide = torch.promote_types(like.dtype, torch.float32)
    axes = [torch.arange(n, dtype=wide, device=like.device) for n in grid]
    rows, columns = (sinusoids(axis, width // 2).to(like.dtype) for axis in axes)
    height, wideness = grid
    return torch.cat([rows.repeat_interleave(wideness, 0), columns.repeat(height, 1)], dim=1)


def _check(event_shape: Shape, patch: int, hidden: int, heads: int, depth: int) -> None:
    if len(event_shape) != 3:
        raise ShapeError(f"DiT: the event must be (C, H, W), got {event_shape}.")
    if patch < 1 or depth < 1:
        raise UsageError(f"DiT: patch and depth must be at least 1, got {patch} and {depth}.")
    wrong = [side for side in event_shape[1:] if side % patch]
    if wrong:
        raise ShapeError(
            f"DiT: height and width must be multiples of the patch, got {event_shape[1:]} and "
            f"patches of {patch}: {wrong[0]} lacks the factor {patch}. Use another patch."
        )
    if hidden % 4 or hidden < 8 or hidden % heads:
        raise UsageError(
            f"DiT: hidden must be a multiple of 4 and of the heads, at least 8, got {hidden} and "
            f"{heads} heads."
        )
