"""Maps of one number with one mistake each; `Right` and `Found` have none."""

from functools import partial

import torch
from torch.nn.functional import softplus

from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate
from teeth import Tooth


class Right(Univariate):
    """z = s x + t; every wrong one below changes a line of it."""

    parameters = 2

    def scale(self, raw, like):
        log_scale = torch.tanh(raw.to(logdet_dtype(like)))
        return log_scale.exp().to(like.dtype), log_scale

    def _forward(self, x, params):
        scale, log_scale = self.scale(params[:, 0], x)
        return scale * x + params[:, 1], log_scale

    def _inverse(self, z, params):
        scale, log_scale = self.scale(params[:, 0], z)
        return (z - params[:, 1]) / scale, -log_scale


class Found(Univariate):
    """z = x + s softplus(x) + t: the inverse is found numerically."""

    parameters = 2
    iterative = frozenset({"inverse"})

    def _forward(self, x, params):
        raw, shift = params.unbind(1)
        wide = x.to(logdet_dtype(x))
        scale = torch.tanh(raw.to(wide.dtype)).exp()
        z = wide + scale * self.bend(wide)
        return z.to(x.dtype) + shift, torch.log1p(scale * torch.sigmoid(wide))

    def bend(self, x):
        return softplus(x)


class SlopeOfEitherSign(Right):
    def _forward(self, x, params):
        scale = 1 + params[:, 0]
        return scale * x + params[:, 1], scale.abs().to(logdet_dtype(x)).log()

    def _inverse(self, z, params):
        scale = 1 + params[:, 0]
        return (z - params[:, 1]) / scale, -scale.abs().to(logdet_dtype(z)).log()


class FallsFarOut(Right):
    def _forward(self, x, params):
        z, log_slope = super()._forward(x, params)
        return torch.where(x > 8, -z, z), log_slope


class Overflows(Found):
    def bend(self, x):
        return torch.log(1 + torch.exp(x))


class HidesAnOverflow(Found):
    def bend(self, x):
        return torch.where(x > 20, x, torch.log1p(torch.exp(x)))


class SkipsTheCheck(Right):
    def forward(self, x, params):
        return self._forward(x, params)


class SkipsTheCheckOfTheInverse(Right):
    def inverse(self, z, params):
        return self._inverse(z, params)


class SpareParameter(Right):
    parameters = 3


class DeadParameter(Right):
    def _forward(self, x, params):
        return super()._forward(x, torch.stack((params[:, 0], params[:, 1].round()), 1))

    def _inverse(self, z, params):
        return super()._inverse(z, torch.stack((params[:, 0], params[:, 1].round()), 1))


class SlopeForItsLogarithm(Right):
    def _forward(self, x, params):
        z, log_slope = super()._forward(x, params)
        return z, log_slope.exp()


class SignOfTheInverse(Right):
    def _inverse(self, z, params):
        x, log_slope = super()._inverse(z, params)
        return x, -log_slope


class ShiftsAfterScaling(Right):
    def _inverse(self, z, params):
        scale, log_scale = self.scale(params[:, 0], z)
        return z / scale - params[:, 1], -log_scale


class NarrowBracket(Found):
    def _bracket(self, z, params):
        return torch.full_like(z, -2.0), torch.full_like(z, 2.0)


class DetachedInverse(Found):
    def _inverse(self, z, params):
        x, log_slope = super()._inverse(z, params)
        return x.detach(), log_slope


class NotOnto(Right):
    """z = sigmoid of it, and says that it lives on the whole line."""

    def _forward(self, x, params):
        y, log_slope = super()._forward(x, params)
        wide = y.to(logdet_dtype(x))
        return torch.sigmoid(y), log_slope - softplus(wide) - softplus(-wide)

    def _inverse(self, z, params):
        y = torch.logit(z)
        x, log_slope = super()._inverse(y, params)
        wide = y.to(logdet_dtype(z))
        return x, log_slope + softplus(wide) + softplus(-wide)


class ConstantOnTheCpu(Right):
    def __init__(self):
        self.shifts = torch.zeros(5)

    def _forward(self, x, params):
        return super()._forward(x + self.shifts.to(x.dtype), params)


class LogSlopeInHalf(Right):
    def scale(self, raw, like):
        log_scale = torch.tanh(raw.to(like.dtype))
        return log_scale.exp(), log_scale


_bug = partial(Tooth, "univariate")
RIGHT = [Right, Found]
TEETH = [
    _bug("a slope may be negative", SlopeOfEitherSign, "it_increases"),
    _bug("it falls beyond 8", FallsFarOut, "it_increases"),
    _bug("exp overflows far out", Overflows, "far_numbers_have_finite_gradients"),
    _bug(
        "an overflow is hidden by torch.where",
        HidesAnOverflow,
        "far_numbers_have_finite_gradients",
    ),
    _bug(
        "forward does not look at its parameters",
        SkipsTheCheck,
        "parameters_that_do_not_fit_are_refused",
    ),
    _bug(
        "inverse does not look at its parameters",
        SkipsTheCheckOfTheInverse,
        "parameters_that_do_not_fit_are_refused",
    ),
    _bug("it asks for a parameter that it does not use", SpareParameter, "every_parameter_counts"),
    _bug("a parameter is rounded", DeadParameter, "every_parameter_counts"),
    _bug(
        "the slope is returned, not its logarithm",
        SlopeForItsLogarithm,
        "logdet_equals_the_autograd_jacobian",
    ),
    _bug(
        "the log-slope of the inverse has the wrong sign",
        SignOfTheInverse,
        "the_inverse_logdet_is_minus_the_forward_one",
    ),
    _bug("the inverse scales before it shifts", ShiftsAfterScaling, "inverse_undoes_forward"),
    _bug("the bracket leaves solutions out", NarrowBracket, "forward_undoes_inverse"),
    _bug(
        "the numerical inverse is detached", DetachedInverse, "gradients_equal_finite_differences"
    ),
    _bug("some latents have no data", NotOnto, "forward_undoes_inverse"),
    _bug("it holds a tensor", ConstantOnTheCpu, "the_device_is_that_of_the_input"),
    _bug("log-slopes are made in bfloat16", LogSlopeInHalf, "log_slopes_are_wide"),
]
