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

    Args:
        in_shape: ``(D,)``.
        out_shape: ``(P, D)``.
        context_shape: Shape of a context, which all hidden units see; or None.
        hidden: Width of each hidden layer.
        activation: relu, silu, gelu, tanh, elu or leaky_relu.
        order: sequential, reversed, random, or the place of each feature.
        seed: Of the random order.
        adjacency: Instead of an order, which features each feature sees: D rows of D zeros or ones
            without circles.
        zero_last: Whether a new network gives zeros.

    Shape: x ``(B, D)``, context ``(B, *context_shape)``; output ``(B, P, D)``.

    Raises:
        ShapeError: If the shapes are not those, or the adjacency is not ``(D, D)``.
        UsageError: If the order is unknown or the adjacency has a circle.

    Source: Germain et al., MADE, ICML 2015, https://arxiv.org/abs/1502.03509.
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
    ) -> None:
        super().__init__(in_shape, out_shape, context_shape)
        if len(in_shape) != 1 or tuple(out_shape[1:]) != tuple(in_shape) or not hidden:
            raise ShapeError(
                "Made: in_shape must be (D,), out_shape (P, D), and there must be a hidden layer, "
                f"got {tuple(in_shape)}, {tuple(out_shape)} and {tuple(hidden)}."
            )
        features, outputs = in_shape[0], out_shape[0]
        self.sorted = adjacency is None
        if adjacency is None:
            rank = ranks(features, order, seed)
            degrees = [
                sorted(hidden_degrees(features, width, context=context_shape is not None))
                for width in hidden
            ]
            masks, self.ends = _sorted_masks(rank, degrees, outputs)
        else:
            _check_adjacency(adjacency, features)
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
        if context_shape is not None:
            self.context = nn.Linear(math.prod(context_shape), hidden[0], bias=False)
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
        h = self.layers[0](x)
        if context is not None:
            h = h + self.context(context.flatten(1))
        for layer in self.layers[1:]:
            h = layer(self.activation(h))
        return h

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
        if context is not None:
            biases[0] = biases[0] + self.context(context.flatten(1)).T
        out = weights[-1].unflatten(0, (-1, features)).transpose(0, 1).contiguous()
        out_bias = layers[-1].bias.reshape(-1, features, 1)
        rows = [Rows(n, batch, like) for n in (features, *(len(w) for w in weights[:-1]))]

        def advance(place: int) -> None:
            """Compute the hidden units that see just so many features."""
            for into, above, weight, bias, ends in zip(
                rows, rows[1:], weights, biases, self.ends, strict=False
            ):
                new = slice(ends[place], ends[place + 1])
                if new.start < new.stop:
                    seen = into.all()
                    raw = torch.addmm(bias[new], weight[new, : len(seen)], seen)
                    above.add(self.activation(raw))

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


def _check_adjacency(adjacency: Sequence[Sequence[int]], features: int) -> None:
    lengths = {len(row) for row in adjacency}
    if len(adjacency) != features or lengths != {features}:
        raise ShapeError(
            f"Made: adjacency must be {features} rows of {features}, got {len(adjacency)} rows of "
            f"{', '.join(map(str, sorted(lengths)))}."
        )
