"""Encoders with one mistake each."""

from functools import partial

from torch import nn

from corekit.errors import ShapeError
from corekit.flows.prior import StandardNormal
from corekit.interfaces.encoder import Encoder
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.kl import CLOSED_FORMS
from corekit.latent.posteriors import DiagonalGaussian, Point
from teeth import Tooth


class Right(Encoder):
    """One hidden layer; every wrong one below changes a line of it."""

    def __init__(self, event_shape):
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Right: event_shape must be (features,), got {event_shape}.")
        self.event_shape, self.latent_shape = tuple(event_shape), (3,)
        self.net = nn.Sequential(nn.Linear(event_shape[0], 8), nn.Tanh(), nn.Linear(8, 6))

    def numbers(self, x):
        return self.net(x).chunk(2, 1)

    def _forward(self, x, condition):
        return DiagonalGaussian(*self.numbers(x))


class AutoEncoder(Right):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.kind = Likelihood.NONE
        self.net[2] = nn.Linear(8, 3)

    def _forward(self, x, condition):
        return Point(self.net(x))


class WrongLatentShape(Right):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.latent_shape = (6,)


class KindUndeclared(AutoEncoder):
    def __init__(self, event_shape):
        super().__init__(event_shape)
        self.kind = Likelihood.EXACT


class Constant(Right):
    def numbers(self, x):
        return super().numbers(x * 0)


class BatchNormalised(Right):
    def numbers(self, x):
        mu, log_var = super().numbers(x)
        return mu - mu.mean(0, keepdim=True) * (len(x) > 0), log_var


class DetachedVariance(Right):
    def numbers(self, x):
        mu, log_var = super().numbers(x)
        return mu, log_var.detach()


class MissingHalfInTheTable(DiagonalGaussian):
    """Its closed-form KL, below, lacks the factor one half."""


CLOSED_FORMS[MissingHalfInTheTable, StandardNormal] = lambda q, p, condition: (
    q.mu.square() + q.log_var.exp() - q.log_var - 1
).sum(-1)


class OwnPosterior(Right):
    def _forward(self, x, condition):
        return MissingHalfInTheTable(*self.numbers(x))


class FalselyFree(Right):
    free_axes = (0,)


class Unchecked(Right):
    def forward(self, x, condition=None):
        return self._forward(x, condition)


_bug = partial(Tooth, "encoder")
RIGHT = [Right, AutoEncoder]
TEETH = [
    _bug(
        "the latent is not of latent_shape", WrongLatentShape, "the_latent_has_the_declared_shape"
    ),
    _bug(
        "a point posterior declared as exact", KindUndeclared, "the_latent_has_the_declared_shape"
    ),
    _bug("x does not matter", Constant, "the_input_matters"),
    _bug("means are taken over the batch", BatchNormalised, "rows_do_not_mix"),
    _bug("the variance is detached", DetachedVariance, "gradients_equal_finite_differences"),
    _bug("the KL lacks its half", OwnPosterior, "the_closed_form_kl_equals_monte_carlo"),
    _bug("an axis is called free and is not", FalselyFree, "a_free_axis_may_have_any_length"),
    _bug("shapes are not checked", Unchecked, "wrong_shapes_are_refused"),
]
