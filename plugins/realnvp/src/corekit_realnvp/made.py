"""MADE: a masked perceptron whose output i sees only the inputs before i."""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from corekit.data_spec import Shape
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.frozen import Derived
from corekit.interfaces.network import Network
from corekit.nn.activation import Activation, make_activation
from corekit.nn.mlp import zero
from corekit_realnvp.masks import (
    Mask,
    Order,
    adjacency_masks,
    degree_mask,
    hidden_degrees,
    ranks,
    topological_ranks,
)

Element = Callable[[int, Tensor], Tensor]
"""Called with the number of a feature and its parameters ``(P, B)``: the feature, ``(B,)``."""


class MaskedLinear(Derived, nn.Linear):
    """A linear layer some of whose weights are kept at zero.

    Args:
        mask: ``(out, in)``: which weights are kept.
    """

    mask: Tensor

    def __init__(self, mask: Mask) -> None:
        super().__init__(len(mask[0]), len(mask))
        numbers = torch.tensor(mask, dtype=self.weight.dtype)  # a boolean one is slower to multiply
        self.register_buffer("mask", numbers, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it."""
        kept = self.derived("kept", lambda: self.weight * self.mask, self.weight)
        return linear(x, kept, self.bias)


class Made(Network):
    r"""A masked perceptron: parameters of feature i from the features before it.

    Hidden units are sorted by how many features they see, so each layer's weights are block
    triangular: when features are computed one after another (`sequential`), every unit is computed
    once, and all of them cost about one pass, not one per feature.

    With ``blocks`` the last hidden layer is followed by residual blocks of its width, and the
    output is linear in what they make, so that depth takes nothing from what one layer can do:

    .. math:: h \leftarrow h + B\, a(A\, a(h) + C c), \qquad \text{output} = W h + b

    Args:
        in_shape: ``(D,)``.
        out_shape: ``(P, D)``.
        context_shape: Shape of a context, which all hidden units see; or None.
        hidden: Width of each hidden layer.
        blocks: Number of residual blocks of two layers behind them; needs an order.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        order: sequential, reversed, random, or the place of each feature.
        seed: Of the random order.
        adjacency: Instead of an order, which features each feature sees: D rows of D zeros or ones
            without circles.
        zero_last: Whether a new network gives zeros.
        first_sees_context: Whether the feature that comes first depends on the context too; in
            nflows it does not.
        activate_context: Whether what the context adds to the first layer passes the activation
            by itself before, as in nflows.

    Shape: x ``(B, D)``, context ``(B, *context_shape)``; output ``(B, P, D)``.

    Raises:
        ShapeError: If the shapes are not those, or the adjacency is not ``(D, D)``.
        UsageError: If the order is unknown, the adjacency has a circle, or there are blocks with
            an adjacency.

    Source: Germain et al., MADE, ICML 2015, https://arxiv.org/abs/1502.03509; blocks as in Nash
        and Durkan, Autoregressive Energy Machines, ICML 2019, https://arxiv.org/abs/1904.05626.
    """

    autoregressive = True

    def __init__(
        self,
        in_shape: Shape,
        out_shape: Shape,
        context_shape: Shape | None = None,
        *,
        hidden: Sequence[int] = (128, 128),
        activation: Activation = "relu",
        order: Order | Sequence[int] = "sequential",
        seed: int = 0,
        adjacency: Sequence[Sequence[int]] | None = None,
        zero_last: bool = True,
        blocks: int = 0,
        first_sees_context: bool = True,
        activate_context: bool = False,
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        if len(in_shape) != 1 or tuple(out_shape[1:]) != tuple(in_shape) or not hidden:
            raise ShapeError(
                "Made: in_shape must be (D,), out_shape (P, D), and there must be a hidden layer, "
                f"got {tuple(in_shape)}, {tuple(out_shape)} and {tuple(hidden)}."
            )
        features, outputs = in_shape[0], out_shape[0]
        self.sorted, self.hidden, self.blocks = adjacency is None, len(hidden), blocks
        if adjacency is None:
            rank = ranks(features, order, seed)
            known = context_shape is not None and first_sees_context
            widths = (*hidden, *(hidden[-1] for _ in range(2 * blocks)))
            degrees = [sorted(hidden_degrees(features, width, context=known)) for width in widths]
            masks, self.ends = _sorted_masks(rank, degrees, outputs)
        else:
            _check_adjacency(adjacency, features, blocks)
            rank = topological_ranks(adjacency)
            masks = adjacency_masks(adjacency, hidden, outputs)
            masks[-1] = [
                masks[-1][i * outputs + p] for p in range(outputs) for i in range(features)
            ]
        self.order = tuple(sorted(range(features), key=rank.__getitem__))
        self.rounds = max(rank) + 1
        self.register_buffer("rank", torch.tensor(rank))
        self.layers = nn.ModuleList(MaskedLinear(mask) for mask in masks)
        self.activation = make_activation(activation)
        self.activate_context = activate_context
        if context_shape is not None:
            size = math.prod(context_shape)
            self.context = nn.Linear(size, hidden[0], bias=activate_context)
            self.block_contexts = nn.ModuleList(
                nn.Linear(size, hidden[-1], bias=False) for _ in range(blocks)
            )
        for layer in self.layers[self.hidden + 1 : -1 : 2]:
            nearly_zero(layer)
        if zero_last:
            zero(self.layers[-1])

    @property
    def incremental(self) -> bool:
        """Whether `sequential` serves: not with an adjacency."""
        return self.sorted

    def _load_from_state_dict(self, state: Any, prefix: str, *args: Any) -> None:
        stored = state.get(f"{prefix}rank")
        if stored is not None and stored.tolist() != self.rank.tolist():
            raise UsageError(
                f"Made: a state dict must have the order of the network, {self.rank.tolist()}, got "
                f"{stored.tolist()}. Build it with the same order and seed."
            )
        super()._load_from_state_dict(state, prefix, *args)

    def _forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        first, *rest = self._given(context)
        layers = list(self.layers)  # a slice of a ModuleList is a new module
        h = layers[0](x)
        h = h if first is None else h + first
        for layer in layers[1 : self.hidden]:
            h = layer(self.activation(h))
        blocks = iter(layers[self.hidden : -1])
        for given, inner, outer in zip(rest, blocks, blocks, strict=True):
            inside = inner(self.activation(h))
            inside = inside if given is None else inside + given
            h = h + outer(self.activation(inside))
        return layers[-1](h if self.blocks else self.activation(h))

    def _given(self, context: Tensor | None) -> list[Tensor | None]:
        """What the context adds to the first layer and to the first one of each block."""
        if context is None:
            return [None] * (1 + self.blocks)
        flat = context.flatten(1)
        first = self.context(flat)
        first = self.activation(first) if self.activate_context else first
        return [first, *(layer(flat) for layer in self.block_contexts)]

    def sequential(self, element: Element, like: Tensor, context: Tensor | None) -> Tensor:
        """Compute the features in their order, each from parameters that the ones before give.

        Args:
            element: Gives a feature from its parameters.
            like: ``(B, D)``, whose rows, dtype and device the result has.
            context: As in ``forward``.

        Returns:
            x ``(B, D)`` such that feature i is ``element(i, forward(x)[:, :, i].T)``.
        """
        batch, features = like.shape
        layers = cast("list[MaskedLinear]", list(self.layers))
        weights: list[Tensor] = [layer.weight for layer in layers]
        weights[0] = weights[0][:, self.order]
        biases = [layer.bias[:, None] for layer in layers[:-1]]
        for i, given in zip(
            (0, *range(self.hidden, len(biases), 2)), self._given(context), strict=True
        ):
            biases[i] = biases[i] if given is None else biases[i] + given.T
        out = weights[-1].unflatten(0, (-1, features)).transpose(0, 1).contiguous()
        out_bias = layers[-1].bias.reshape(-1, features, 1)
        rows = [Rows(n, batch, like) for n in (features, *(len(w) for w in weights[:-1]))]

        def advance(place: int) -> None:
            """Compute the hidden units that see just so many features."""
            stream = None  # what the blocks add to
            for i, ends in enumerate(self.ends):
                new = slice(ends[place], ends[place + 1])
                if new.start < new.stop:
                    seen = rows[i].all()
                    raw = torch.addmm(biases[i][new], weights[i][new, : len(seen)], seen)
                    if i >= self.hidden - 1 and (i - self.hidden) % 2:  # the end of a block
                        stream = raw = raw if stream is None else stream + raw
                    last = self.blocks and i == len(self.ends) - 1
                    rows[i + 1].add(raw if last else self.activation(raw))

        advance(0)
        for place, feature in enumerate(self.order):
            last = rows[-1].all()
            params = torch.addmm(out_bias[:, feature], out[feature][:, : len(last)], last)
            rows[0].add(element(feature, params)[None])
            advance(place + 1)
        return rows[0].all().T[:, self.rank]


class Rows:
    """Rows that are computed one after another; written in place where no gradient is needed."""

    def __init__(self, total: int, batch: int, like: Tensor) -> None:
        self.attached = torch.is_grad_enabled()
        self.count, self.parts = 0, [like.new_empty(0, batch)]
        self.buffer = None if self.attached else like.new_empty(total, batch)

    def add(self, rows: Tensor) -> None:
        """Put more rows below."""
        if self.buffer is None:
            self.parts = [torch.cat((*self.parts, rows))]
        else:
            self.buffer[self.count : self.count + len(rows)] = rows
        self.count += len(rows)

    def all(self) -> Tensor:
        """The rows so far."""
        return self.parts[0] if self.buffer is None else self.buffer[: self.count]


def _sorted_masks(
    rank: Sequence[int], hidden: Sequence[list[int]], outputs: int
) -> tuple[list[Mask], list[list[int]]]:
    """Masks, and for each hidden layer how many of its units see fewer than i features."""
    features, inputs = len(rank), [place + 1 for place in rank]
    degrees = [inputs, *hidden]
    masks = [degree_mask(b, a, strict=False) for a, b in pairwise(degrees)]
    masks.append(degree_mask(inputs * outputs, degrees[-1], strict=True))
    ends = [[0, *(bisect_right(d, i) for i in range(features + 1))] for d in degrees[1:]]
    return masks, ends


def nearly_zero(layer: nn.Module) -> None:
    """Small weights and biases: a block starts near the identity, with gradients everywhere."""
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -1e-3, 1e-3)


def _check_adjacency(adjacency: Sequence[Sequence[int]], features: int, blocks: int) -> None:
    if blocks:
        raise UsageError(
            f"Made: blocks must be 0 with an adjacency, got {blocks}. Use more hidden layers, or "
            "an order."
        )
    lengths = {len(row) for row in adjacency}
    if len(adjacency) != features or lengths != {features}:
        raise ShapeError(
            f"Made: adjacency must be {features} rows of {features}, got {len(adjacency)} rows of "
            f"{', '.join(map(str, sorted(lengths)))}."
        )
