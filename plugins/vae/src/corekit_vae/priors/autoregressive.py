"""An autoregressive prior of codes: a causal transformer that reads them one after another."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.precision import wide
from corekit.interfaces.records import Condition

Cache = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Causal attention and a perceptron, each behind a layer norm and beside a way past it.

    Shape: x ``(B, T, width)``; the same.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, past: Cache | None = None) -> tuple[Tensor, Cache]:
        """What follows x, and keys and values of all so far; with a past, x is one position."""
        normed = self.qkv(self.before_attention(x))
        q, k, v = normed.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat((past[0], k), 2), torch.cat((past[1], v), 2)
        mixed = scaled_dot_product_attention(q, k, v, is_causal=past is None and q.shape[2] > 1)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x)), (k, v)


class Autoregressive(Prior):
    r"""P(k) of codes in a fixed order, each given those before it, exactly.

    .. math:: \log P(k \mid c) = \sum_i \log P(k_i \mid k_1, \ldots, k_{i-1}, c)

    Codes are read in the order of memory: of an image row by row.

    Args:
        event_shape: Shape of the codes of one example.
        condition: Its ``vector``, if there is one, is what the first position sees.
        levels: K; where it is None, `prepare` tells it.
        width: Numbers per position.
        layers: Blocks.
        heads: Of the attention; they divide the width.
        dropout: Share of the embedded codes that training clears.

    Shape: x ``(B, *event_shape)``, whole numbers 0 ... K - 1; log_prob ``(B,)``, nats.

    Raises:
        UsageError: If nobody said how many levels there are, or x has others.

    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, sec. 3,
        https://arxiv.org/abs/1706.03762; for codes: Razavi et al., VQ-VAE-2, NeurIPS 2019.
    """

    support = Support.CODES
    levels: int | None = None

    def __init__(
        self,
        event_shape: Shape,
        condition: Mapping[str, Shape] | None = None,
        *,
        levels: int | None = None,
        width: int = 128,
        layers: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if width % heads:
            raise UsageError(f"Autoregressive: heads must divide the width {width}, got {heads}.")
        self.event_shape, self.length = tuple(event_shape), math.prod(event_shape)
        vector = (condition or {}).get("vector")
        if vector is not None:
            self.condition_shapes = {"vector": tuple(vector)}
        self.width, self.dropout = width, nn.Dropout(dropout)
        self.position = nn.Parameter(0.02 * torch.randn(self.length, width))
        self.begin = nn.Parameter(0.02 * torch.randn(width))
        self.told = None if vector is None else nn.Linear(math.prod(vector), width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        if levels is not None:
            self._tell(levels)

    def prepare(self, data: DataSpec) -> None:
        """Learn from what the codes are how many levels there are."""
        if data.levels is None or (self.levels is not None and self.levels != data.levels):
            raise UsageError(
                f"Autoregressive: levels must be those of the codes, {data.levels}, got "
                f"{self.levels}. Leave levels out."
            )
        if self.levels is None:
            self._tell(data.levels)

    def _tell(self, levels: int) -> None:
        if levels < 2:
            raise UsageError(f"Autoregressive: levels must be at least 2, got {levels}.")
        self.levels = levels
        self.embed, self.logits = nn.Embedding(levels, self.width), nn.Linear(self.width, levels)

    def _first(self, rows: int, condition: Condition | None) -> Tensor:
        """What the first position sees, ``(B, 1, width)``."""
        first = self.begin.expand(rows, 1, -1)
        if self.told is None:
            return first
        vector = Condition.vector_of(condition, "Autoregressive").flatten(1)
        return first + self.told(vector.to(first.dtype))[:, None]

    def _log_prob(self, x: Tensor, condition: Condition | None, draws: Draws) -> LogProb:
        codes = self._codes(x)
        h = self._first(len(codes), condition)
        if self.length > 1:
            h = torch.cat((h, self.dropout(self.embed(codes[:, :-1]))), 1)
        h = h + self.position
        for block in self.blocks:
            h, _ = block(h)
        logits = wide(self.logits(self.norm(h)))
        each = cross_entropy(logits.flatten(0, 1), codes.flatten(), reduction="none")
        return LogProb(-each.reshape(codes.shape).sum(1))

    @torch.no_grad()
    def _sample(
        self,
        n: int,
        condition: Condition | None,
        shape: Shape,
        temperature: float,
        draws: Draws,
        **options: Any,
    ) -> Tensor:
        self._codes(torch.zeros(0, *self.event_shape, dtype=torch.int64))  # levels must be known
        h, past = self._first(n, condition), [None] * len(self.blocks)
        chosen: list[Tensor] = []
        for i in range(self.length):
            h = h + self.position[i]
            for j, block in enumerate(self.blocks):
                h, past[j] = block(h, past[j])
            chosen.append(_drawn(self.logits(self.norm(h))[:, 0], temperature, draws))
            h = self.embed(chosen[-1])[:, None]
        return torch.stack(chosen, 1).reshape(n, *shape)

    def _codes(self, x: Tensor) -> Tensor:
        if self.levels is None:
            raise UsageError(
                "Autoregressive: levels must be known, got none. Set levels, or let a model with a "
                "quantizer tell."
            )
        codes = x.reshape(len(x), math.prod(x.shape[1:])).to(torch.int64)
        if codes.shape[1] != self.length:
            raise ShapeError(f"Autoregressive: x must have {self.length} codes, got {x.shape}.")
        if codes.device.type == "cpu" and codes.numel():
            low, high = int(codes.min()), int(codes.max())
            if low < 0 or high >= self.levels:
                raise UsageError(
                    f"Autoregressive: codes must lie in 0 to {self.levels - 1}, got {low} to "
                    f"{high}."
                )
        return codes


def _drawn(logits: Tensor, temperature: float, draws: Draws) -> Tensor:
    """A code of each row, by Gumbel noise; at temperature 0 the likeliest."""
    if temperature == 0:
        return logits.argmax(1)
    u = draws.uniform("code", tuple(logits.shape), logits.double()).clamp(min=2.0**-54)
    return (logits.double() / temperature - (-u.log()).log()).argmax(1)
