"""Losses of one denoising with one mistake each; `Right` and `Median` have none."""

from functools import partial

import torch

from corekit.diffusion.process import target_of
from corekit.interfaces.loss import DenoisingLoss
from teeth import Tooth


class Right(DenoisingLoss):
    """Mean squared error of v. Every wrong one below changes a line of it."""

    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        guess = self.guess(prediction, level)
        return self.reduced(self.cost(guess - target_of("v", x_0, eps, level)))

    def guess(self, prediction, level):
        return target_of("v", prediction.x_0, prediction.eps, level)

    def cost(self, error):
        return error.to(torch.promote_types(error.dtype, torch.float32)).square()

    def reduced(self, cost):
        return cost.flatten(1).mean(1)


class Median(Right):
    """Right as well: an absolute error, which says that it seeks no mean."""

    unit, seeks_mean = "absolute error per coordinate", False

    def cost(self, error):
        return error.to(torch.promote_types(error.dtype, torch.float32)).abs()


class Likelihood(Right):
    """Right as well: minus the log-density of the truth under N(guess, 1 / 100)."""

    unit, is_error = "nats", False

    def cost(self, error):
        return 50 * super().cost(error) - 1.4

    def reduced(self, cost):
        return cost.flatten(1).sum(1)


class WithoutAUnit(Right):
    unit = ""


class ReducedOverTheBatch(Right):
    def reduced(self, cost):
        return cost.mean()


class OneValueForAllRows(Right):
    def reduced(self, cost):
        return cost.flatten(1).mean().expand(len(cost))


class PointsAreLeftOver(Right):
    """Reduces the last axis only."""

    def reduced(self, cost):
        return cost.mean(-1)


class SignOfV(Right):
    def guess(self, prediction, level):
        return -super().guess(prediction, level)


class NotSquared(Right):
    def cost(self, error):
        return error


class ClaimsTheMean(Median):
    seeks_mean = True


class ClaimsToBeAnError(Likelihood):
    is_error = True


class DetachedGuess(Right):
    def guess(self, prediction, level):
        return super().guess(prediction, level).detach()


class SumForMean(Right):
    def reduced(self, cost):
        return cost.flatten(1).sum(1)


class SinglePrecision(Right):
    def cost(self, error):
        return error.float().square()


class HalfAccumulator(Right):
    def cost(self, error):
        return error.square()


class MixesRows(Right):
    def cost(self, error):
        return (error - 0.1 * error.mean(0)).square()


class WritesInPlace(Right):
    def forward(self, prediction, x_0, x_t, eps, level):
        loss = super().forward(prediction, x_0.clone(), x_t, eps, level)
        with torch.no_grad():
            eps.mul_(1.0 + 1e-3)
        return loss


RIGHT = [Right, Median, Likelihood]
_bug = partial(Tooth, "denoising_loss")
TEETH = [
    _bug("it has no unit", WithoutAUnit, "it_has_a_name_and_a_unit"),
    _bug("the batch is reduced too", ReducedOverTheBatch, "each_row_has_a_loss"),
    _bug("an axis of the event is left over", PointsAreLeftOver, "each_row_has_a_loss"),
    _bug("every row gets the mean of the batch", OneValueForAllRows, "rows_do_not_mix"),
    _bug(
        "prediction and truth are of opposite signs", SignOfV, "a_perfect_prediction_costs_nothing"
    ),
    _bug(
        "a likelihood claims to be an error",
        ClaimsToBeAnError,
        "a_perfect_prediction_costs_nothing",
    ),
    _bug("the error is not squared", NotSquared, "an_error_is_positive"),
    _bug(
        "an absolute error claims to seek the mean",
        ClaimsTheMean,
        "it_is_least_at_the_conditional_mean",
    ),
    _bug("the prediction is detached", DetachedGuess, "its_gradient_reaches_the_prediction"),
    _bug(
        "a sum where the unit says per coordinate",
        SumForMean,
        "an_event_twice_as_long_costs_the_same",
    ),
    _bug(
        "float64 errors are squared in float32",
        SinglePrecision,
        "outputs_have_the_dtype_of_the_input",
    ),
    _bug("the error is averaged in bfloat16", HalfAccumulator, "it_runs_in_bfloat16"),
    _bug("a row depends on the mean of the batch", MixesRows, "rows_do_not_mix"),
    _bug("the noise is changed in place", WritesInPlace, "the_input_is_untouched"),
]
