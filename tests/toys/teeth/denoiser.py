"""Denoisers with one mistake each; `Right` has none."""

import math
from functools import partial

import torch
from torch import nn

from corekit.errors import ShapeError
from corekit.interfaces.denoiser import Denoiser
from teeth import Tooth


class Right(Denoiser):
    """A perceptron of (x, log-SNR, condition), alone for every point of a cloud.

    Every wrong one below changes a line of it.
    """

    outputs = 1

    def __init__(self, event_shape, condition_shapes, out_channels):
        super().__init__()
        if len(event_shape) > 2:
            raise ShapeError(f"Right: the event must be a vector or a cloud, got {event_shape}.")
        self.event_shape, self.condition_shapes = tuple(event_shape), dict(condition_shapes)
        self.channel_axis = len(event_shape) - 1
        self.free_axes = tuple(range(self.channel_axis))
        channels, extra = event_shape[-1], sum(v[0] for v in condition_shapes.values())
        self.hidden = nn.Linear(channels + 2 + extra, 8)
        self.out = nn.Linear(8, channels * self.outputs)

    def _forward(self, x_t, level, condition, previous):
        given = [self.features(level).to(x_t.dtype)]
        if self.condition_shapes:
            given.append(self.embedded(condition.vector).to(x_t.dtype))
        context = torch.cat(given, 1)
        if x_t.ndim == 3:
            context = context[:, None].expand(-1, x_t.shape[1], -1)
        return self.out(torch.tanh(self.hidden(torch.cat([x_t, context], -1))))

    def features(self, level):
        angle = torch.atan2(level.sigma, level.alpha)
        return torch.stack([angle.sin(), (3 * angle).cos()], 1)

    def embedded(self, vector):
        return vector


class DemandsACondition(Right):
    """Right as well, but for nothing without a vector."""

    def __init__(self, event_shape, condition_shapes, out_channels):
        if "vector" not in condition_shapes:
            raise ShapeError("DemandsACondition: needs the condition 'vector', got none.")
        super().__init__(event_shape, condition_shapes, out_channels)


class LearnsVariances(Right):
    """Right as well: the output holds twice the channels."""

    variance, outputs = "range", 2


class UnknownTarget(Right):
    predicts = "noise"


class VariancesAreMissing(Right):
    variance = "range"


class IgnoresTheLevel(Right):
    def features(self, level):
        return super().features(level) * 0


class IgnoresTheCondition(Right):
    def embedded(self, vector):
        return vector * 0


class NormalisesOverTheBatch(Right):
    def embedded(self, vector):
        return vector - vector.mean(0)


class DividesByTheNorm(Right):
    """0 / 0 where guidance drops the condition."""

    def embedded(self, vector):
        return vector / vector.norm(dim=1, keepdim=True)


class SkipsTheShapeCheck(Right):
    def forward(self, x_t, level, condition=None, *, previous=None):
        return self._forward(x_t, level, condition, previous)


class LevelDecidesTheDtype(Right):
    def _forward(self, x_t, level, condition, previous):
        return super()._forward(x_t, level, condition, previous) * level.alpha.reshape(
            -1, *(1,) * (x_t.ndim - 1)
        )


class NeedsAStep(Right):
    def features(self, level):
        angle = level.step.to(level.alpha.dtype) * math.pi / 80
        return torch.stack([angle.sin(), angle.cos()], 1)


class PreparedForgetsTheLevel(Right):
    """Keeps the features of the first level that it sees."""

    kept = None

    def prepared(self, condition):
        other = type(self)(self.event_shape, self.condition_shapes, None).double()
        other.load_state_dict(self.state_dict())
        other.keeps = True
        return other

    def features(self, level):
        if not getattr(self, "keeps", False):
            return super().features(level)
        self.kept = super().features(level) if self.kept is None else self.kept
        return self.kept


class ChokesOnAnEstimate(Right):
    def _forward(self, x_t, level, condition, previous):
        if previous is not None:
            x_t = torch.cat([x_t, previous], -1)
        return super()._forward(x_t, level, condition, None)


class ClaimsToSeeItsEstimate(Right):
    self_condition = True


class UsesAnEstimateInSilence(Right):
    def _forward(self, x_t, level, condition, previous):
        x_t = x_t if previous is None else x_t + previous
        return super()._forward(x_t, level, condition, None)


class SelfConditioned(UsesAnEstimateInSilence):
    """Right as well: it says that it sees its estimate."""

    self_condition = True


class PositionsOfEveryPoint(Right):
    """A weight per point, though the number of points is said to be free."""

    def __init__(self, event_shape, condition_shapes, out_channels):
        super().__init__(event_shape, condition_shapes, out_channels)
        self.positions = nn.Parameter(torch.zeros(event_shape))

    def _forward(self, x_t, level, condition, previous):
        return super()._forward(x_t + self.positions, level, condition, previous)


class RowsMix(Right):
    def _forward(self, x_t, level, condition, previous):
        return super()._forward(x_t - 0.1 * x_t.mean(0), level, condition, previous)


class DetachedOutput(Right):
    def _forward(self, x_t, level, condition, previous):
        return x_t + super()._forward(x_t.detach(), level, condition, previous)


class ReadsANumber(Right):
    def features(self, level):
        features = super().features(level)
        return features if len(features) == 0 or level.sigma.min().item() > 0 else features * 0


RIGHT = [Right, DemandsACondition, LearnsVariances, SelfConditioned]
_bug = partial(Tooth, "denoiser")
TEETH = [
    _bug(
        "what it predicts is none of the four", UnknownTarget, "it_says_what_it_takes_and_predicts"
    ),
    _bug(
        "it claims to learn variances, and has no output for them",
        VariancesAreMissing,
        "the_output_has_the_shape_of_the_event",
    ),
    _bug("the noise level is ignored", IgnoresTheLevel, "the_noise_level_matters"),
    _bug("the condition is taken and ignored", IgnoresTheCondition, "each_condition_matters"),
    _bug(
        "conditions are centred over the batch",
        NormalisesOverTheBatch,
        "dropped_conditions_leave_other_rows_alone",
    ),
    _bug(
        "a dropped condition is divided by its norm",
        DividesByTheNorm,
        "dropped_conditions_leave_other_rows_alone",
    ),
    _bug(
        "the public method is overridden, so shapes are not checked",
        SkipsTheShapeCheck,
        "wrong_inputs_are_refused",
    ),
    _bug(
        "the output has the dtype of the level",
        LevelDecidesTheDtype,
        "the_dtype_of_the_level_does_not_matter",
    ),
    _bug(
        "a level without an integer step crashes it",
        NeedsAStep,
        "a_level_without_steps_is_taken_or_refused",
    ),
    _bug(
        "a prepared one keeps the first level",
        PreparedForgetsTheLevel,
        "prepared_computes_the_same",
    ),
    _bug(
        "an earlier estimate does not fit in",
        ChokesOnAnEstimate,
        "an_earlier_estimate_may_be_given",
    ),
    _bug(
        "it says that it sees its earlier estimate, and does not",
        ClaimsToSeeItsEstimate,
        "an_earlier_estimate_may_be_given",
    ),
    _bug(
        "it sees an earlier estimate, and does not say so",
        UsesAnEstimateInSilence,
        "an_earlier_estimate_may_be_given",
    ),
    _bug(
        "a free axis has weights of a fixed length",
        PositionsOfEveryPoint,
        "free_axes_may_have_any_length",
    ),
    _bug("a row depends on the mean of the batch", RowsMix, "rows_do_not_mix"),
    _bug("x_t is detached", DetachedOutput, "gradients_equal_finite_differences"),
    _bug("a number is read on the host", ReadsANumber, "it_compiles"),
]
