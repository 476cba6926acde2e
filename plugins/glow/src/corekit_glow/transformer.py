"""An autoregressive flow over the patches of an image, whose conditioner is a transformer."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.affine import bounded
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.nn.recompute import recomputed
from corekit_glow.tarflow_specs import check_patches
from corekit_glow.transformer_layers import Kept, TransformerLayer

TokenOrder = Literal["forward", "backward"]

PLACE_STD = 0.02
"""Standard deviation of the new embeddings of places."""


class TransformerBlock(Bijector):
    r"""Shift and scale every patch of an image, given the patches before it.

    The image becomes T tokens, its patches of p by p pixels row by row, of N = p^2 C numbers. A
    causal transformer reads what comes before token t, and a context, and says how to move it:

    .. math::
        z_t = (x_t - \mu_t(x_{<t}, c))\, e^{-a_t(x_{<t}, c)}, \qquad
        \log|\det \partial z / \partial x| = -\sum_{t, i} a_{t, i}, \qquad
        a = m \tanh(r / m)

    The numbers of one token do not depend on each other; those of the first depend on the context
    alone, by an embedding of its place. z has the shape of the image, patch for patch. Data to
    latent is one pass. Latent to data goes patch by patch and keeps keys and values, so that every
    token passes the transformer once. A new block is the identity.

    Args:
        event_shape: ``(C, H, W)``, H and W multiples of p.
        context_shape: Shape of a context, which is projected and added to every token; or None.
        patch: p, pixels.
        width: Numbers of a token inside the transformer, a multiple of ``heads``.
        heads: Of the attention.
        layers: Of the transformer.
        order: forward, the first patch first; or backward, the last one first. Alternate it.
        max_log_scale: m, nats; None for no bound: a = r.

    Shape: x, z ``(B, C, H, W)``; logdet ``(B,)``, nats.

    Raises:
        ShapeError: If the event is no image, or a side is no multiple of the patch.
        UsageError: If an option is unknown or out of range.

    Source: Zhai et al., Normalizing Flows are Capable Generative Models, 2024, section 2.2,
        https://arxiv.org/abs/2412.06329; there the first patch is left as it is, and a has no
        bound.
    """

    recompute = False  # see corekit.nn.recompute

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        patch: int = 4,
        width: int = 256,
        heads: int = 4,
        layers: int = 4,
        order: TokenOrder = "forward",
        max_log_scale: float | None = 7.0,
    ) -> None:
        super().__init__()
        if min(patch, width, heads, layers) < 1 or width % heads:
            raise UsageError(
                "TransformerBlock: patch, width, heads and layers must be at least 1, and width a "
                f"multiple of heads, got {patch}, {width}, {heads} and {layers}."
            )
        if order not in ("forward", "backward"):
            raise UsageError(f"TransformerBlock: order must be forward or backward, got {order!r}.")
        if max_log_scale is not None and not max_log_scale > 0:
            raise UsageError(
                f"TransformerBlock: max_log_scale must be positive, got {max_log_scale}."
            )
        check_patches("TransformerBlock", event_shape, patch)
        self.event_shape, self.patch = tuple(event_shape), patch
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.backward, self.bound = order == "backward", max_log_scale
        channels, height, across = self.event_shape
        self.rows, self.columns = height // patch, across // patch
        numbers = patch**2 * channels
        self.tokens = (self.rows * self.columns, numbers)
        self.embed = nn.Linear(numbers, width)
        self.place = nn.Parameter(PLACE_STD * torch.randn(self.tokens[0], width))
        if self.context_shape is not None:
            self.given = nn.Linear(math.prod(self.context_shape), width, bias=False)
        self.layers = nn.ModuleList(TransformerLayer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.last = nn.Linear(width, 2 * numbers)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # a new block is the identity

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens = self._tokens(x)
        # What is read at token t is the one before: nothing at the first.
        h = pad(self.embed(tokens[:, :-1]), (0, 0, 1, 0)) + self._added(context)
        for layer in self.layers:
            h = recomputed(self, layer, h)
        shift, log_scale = self._shift_and_log_scale(h, x)
        z = (tokens - shift) * (-log_scale).exp().to(x.dtype)
        return self._image(z), -log_scale.flatten(1).sum(1)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens, added = self._tokens(z), self._added(context)
        kept = [Kept(tokens.shape[1]) for _ in self.layers]
        x: list[Tensor] = []
        total = torch.zeros(z.shape[0], dtype=logdet_dtype(z), device=z.device)
        for t in range(tokens.shape[1]):
            h = added[:, t : t + 1].expand(z.shape[0], -1, -1)
            h = h + self.embed(x[-1]) if x else h
            for layer, before in zip(self.layers, kept, strict=True):
                h = layer(h, before)
            shift, log_scale = self._shift_and_log_scale(h, z)
            x.append(tokens[:, t : t + 1] * log_scale.exp().to(z.dtype) + shift)
            total = total + log_scale.flatten(1).sum(1)
        return self._image(torch.cat(x, dim=1)), total

    def _added(self, context: Tensor | None) -> Tensor:
        """What is added to the tokens: their places and the context, ``(B or 1, T, width)``."""
        place = self.place[None]
        return place if context is None else place + self.given(context.flatten(1))[:, None]

    def _shift_and_log_scale(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu and a of the tokens whose hidden numbers these are, ``(B, T, N)`` each."""
        shift, raw = self.last(self.norm(h)).chunk(2, dim=2)
        raw, bound = raw.to(logdet_dtype(x)), self.bound
        return shift.to(x.dtype), bounded(raw, bound)

    def _tokens(self, x: Tensor) -> Tensor:
        """The patches of an image in their order, ``(B, T, N)``."""
        p = self.patch
        blocks = x.reshape(x.shape[0], x.shape[1], self.rows, p, self.columns, p)
        tokens = blocks.permute(0, 2, 4, 1, 3, 5).reshape(x.shape[0], *self.tokens)
        return tokens.flip(1) if self.backward else tokens

    def _image(self, tokens: Tensor) -> Tensor:
        """Undo `_tokens`."""
        tokens, p = tokens.flip(1) if self.backward else tokens, self.patch
        blocks = tokens.reshape(tokens.shape[0], self.rows, self.columns, self.event_shape[0], p, p)
        return blocks.permute(0, 3, 1, 4, 2, 5).reshape(tokens.shape[0], *self.event_shape)
