"""Networks with one mistake each; `Right` and `Ordered` have none."""

import math
from functools import partial

import torch
from torch import nn

from corekit.errors import ShapeError
from corekit.interfaces.network import Network
from teeth import Tooth


class Right(Network):
    """A perceptron; every wrong one below changes a line of it."""

    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        width = math.prod(in_shape) + math.prod(context_shape or (0,))
        self.first, self.last = nn.Linear(width, 8), nn.Linear(8, math.prod(out_shape))

    def _forward(self, x, context):
        h = x.flatten(1) if context is None else torch.cat((x.flatten(1), context.flatten(1)), 1)
        return self.last(torch.tanh(self.first(h)))


class FlatOutput(Right):
    def forward(self, x, context=None):
        return super().forward(x, context).flatten(1)


class SkipsTheCheck(Right):
    """A mean over positions takes any shape."""

    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__((1,), out_shape, context_shape)
        self.in_shape = tuple(in_shape)

    def forward(self, x, context=None):
        return (
            super()
            ._forward(x.flatten(1).mean(1, keepdim=True), context)
            .reshape(len(x), *self.out_shape)
        )


class IgnoresContext(Right):
    def _forward(self, x, context):
        return super()._forward(x, None if context is None else torch.zeros_like(context))


class RowsMix(Right):
    def _forward(self, x, context):
        return super()._forward(x - x.mean(0), context)


class Unused(Right):
    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        self.skip = nn.Linear(2, 2)


class LooseScale(Right):
    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        self.scale = torch.ones(8)


class Drops(Right):
    """Dropout that does not know of eval mode."""

    def _forward(self, x, context):
        return nn.functional.dropout(super()._forward(x, context), 0.5)


class Ordered(Network):
    """Output i sees the inputs before it: a strictly triangular matrix and a nonlinearity."""

    autoregressive = True

    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        if len(in_shape) != 1 or out_shape[1:] != in_shape:
            raise ShapeError(f"Ordered: in_shape must be (D,), out_shape (P, D), got {in_shape}.")
        features, (outputs, _) = in_shape[0], out_shape
        self.rounds = features
        self.register_buffer("rank", self.ranks(features))
        self.register_buffer("mask", self.seen(features).float())
        self.weight = nn.Parameter(torch.randn(outputs, features, features))
        self.context = nn.Linear(math.prod(context_shape or (1,)), features)

    def ranks(self, features):
        return torch.arange(features)

    def seen(self, features):
        return torch.ones(features, features).tril(-1)

    def _forward(self, x, context):
        given = self.context(x.new_ones(len(x), 1) if context is None else context.flatten(1))
        return torch.einsum("poi,bi->bpo", self.weight * self.mask, torch.tanh(x)) + given[:, None]


class SeesItself(Ordered):
    def seen(self, features):
        return torch.ones(features, features).tril()


class SeesNothing(Ordered):
    def seen(self, features):
        return torch.zeros(features, features)

    def _forward(self, x, context):
        return super()._forward(x, context) + 0 * x[:, None]


class RankTheOtherWay(Ordered):
    def ranks(self, features):
        return torch.arange(features - 1, -1, -1)


class TooFewRounds(Ordered):
    def __init__(self, in_shape, out_shape, context_shape=None):
        super().__init__(in_shape, out_shape, context_shape)
        self.rounds -= 1


_bug = partial(Tooth, "network")
EARLIER = "an_output_sees_earlier_inputs_only"
RIGHT = [Right, Ordered]
TEETH = [
    _bug("the output is flat", FlatOutput, "the_output_has_the_declared_shape"),
    _bug("any shape is taken", SkipsTheCheck, "wrong_inputs_are_refused"),
    _bug("the context is taken and ignored", IgnoresContext, "the_context_matters"),
    _bug("an autoregressive output sees its own input", SeesItself, EARLIER),
    _bug("an autoregressive output sees nothing", SeesNothing, EARLIER),
    _bug("the ranks are the other way round", RankTheOtherWay, EARLIER),
    _bug("there are more ranks than rounds", TooFewRounds, "every_rank_has_a_round"),
    _bug("a row depends on the mean of the batch", RowsMix, "rows_do_not_mix"),
    _bug("a layer is not used", Unused, "gradients_reach_every_parameter"),
    _bug("a tensor is a plain attribute", LooseScale, "every_tensor_is_a_parameter_or_a_buffer"),
    _bug("dropout goes on in eval mode", Drops, "the_same_input_gives_the_same_output"),
]
