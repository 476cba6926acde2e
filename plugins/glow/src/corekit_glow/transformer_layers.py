"""A layer of a causal transformer, which keeps keys and values where it goes token by token."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

WIDENING = 4
"""How much wider the perceptron of a layer is inside."""


class Kept:
    """Keys and values of the tokens so far; written in place where no gradient is needed.

    Args:
        tokens: How many there will be.
    """

    def __init__(self, tokens: int) -> None:
        self.tokens, self.count = tokens, 0
        self.attached = torch.is_grad_enabled()
        self.pairs: Tensor | None = None

    def add(self, pair: Tensor) -> Tensor:
        """Keys and values ``(2, B, heads, 1, d)`` of one more token; those of all, ``T`` for 1."""
        self.count += 1
        if self.attached:
            self.pairs = pair if self.pairs is None else torch.cat((self.pairs, pair), dim=3)
            return self.pairs
        if self.pairs is None:
            self.pairs = pair.new_empty(*pair.shape[:3], self.tokens, pair.shape[4])
        self.pairs[:, :, :, self.count - 1 : self.count] = pair
        return self.pairs[:, :, :, : self.count]


class CausalAttention(nn.Module):
    r"""Attention of several heads in which a token sees itself and those before it.

    .. math:: h_t = W \, \big[\textstyle\sum_{s \le t} softmax_s(q_t \cdot k_s / \sqrt d)\, v_s\big]

    Args:
        width: Numbers of a token.
        heads: Into how many heads they are divided.

    Shape: ``(B, T, width)``, in and out.
    Source: Vaswani et al., Attention Is All You Need, NeurIPS 2017, section 3.2,
        https://arxiv.org/abs/1706.03762.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.into = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, h: Tensor, kept: Kept | None = None) -> Tensor:
        """Of all tokens at once, or of the next one, given what is kept of those before."""
        made = self.into(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, pair = made[0], made[1:]  # (B, heads, T, d)
        key, value = (pair if kept is None else kept.add(pair)).unbind(0)
        seen = scaled_dot_product_attention(query, key, value, is_causal=kept is None)
        return self.out(seen.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Attention and a perceptron, each added to what comes in, after a normalisation.

    Args:
        width: Numbers of a token.
        heads: Of the attention.

    Shape: ``(B, T, width)``, in and out.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.first_norm, self.attention = nn.LayerNorm(width), CausalAttention(width, heads)
        self.second_norm = nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, WIDENING * width), nn.GELU(), nn.Linear(WIDENING * width, width)
        )

    def forward(self, h: Tensor, kept: Kept | None = None) -> Tensor:
        """Of all tokens at once, or of the next one, given what is kept of those before."""
        h = h + self.attention(self.first_norm(h), kept)
        return h + self.perceptron(self.second_norm(h))
