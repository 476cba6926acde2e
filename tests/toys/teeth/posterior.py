"""Posteriors with one mistake each."""

import math
from functools import partial

import torch
from torch import nn

from corekit.data_spec import Support
from corekit.flows.prior import StandardNormal
from corekit.interfaces.likelihood import LogProb
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.latent.kl import CLOSED_FORMS
from corekit.latent.posteriors import DiagonalGaussian, Point
from teeth import Tooth


def build(posterior, feature_shape=None, latent_shape=None):
    """Four rows, two dimensions, far from standard normal."""
    mu = 2 * torch.randn(4, 2, dtype=torch.float64)
    return posterior(mu, 0.5 * torch.randn(4, 2, dtype=torch.float64))


def build_point(posterior, feature_shape=None, latent_shape=None):
    """Four rows without a density."""
    return posterior(torch.randn(4, 2, dtype=torch.float64))


class RowsInterleaved(DiagonalGaussian):
    def rsample_and_log_prob(self, draws, k=1):
        z, log_q = super().rsample_and_log_prob(draws, k)
        order = torch.arange(k * len(self.mu)).reshape(k, -1).T.flatten()
        return z[order], log_q._replace(value=log_q.value[order])


class VarianceForDeviation(DiagonalGaussian):
    """Samples with the variance where the standard deviation belongs."""

    def rsample_and_log_prob(self, draws, k=1):
        mu, log_var = self.mu.repeat(k, 1), self.log_var.repeat(k, 1)
        z = mu + log_var.exp() * draws.normal("z", tuple(mu.shape), mu)
        values = [self.log_prob(part) for part in z.chunk(k)]
        return z, values[0]._replace(value=torch.cat([v.value for v in values]))


class NoConstant(DiagonalGaussian):
    def log_prob(self, z):
        logq = super().log_prob(z)
        return logq._replace(value=logq.value + math.log(2 * math.pi))

    def rsample_and_log_prob(self, draws, k=1):
        z, logq = super().rsample_and_log_prob(draws, k)
        return z, logq._replace(value=logq.value + math.log(2 * math.pi))


class DensityOfAnotherDraw(DiagonalGaussian):
    def rsample_and_log_prob(self, draws, k=1):
        z, _ = super().rsample_and_log_prob(draws, k)
        return z, super().rsample_and_log_prob(draws, k)[1]


class ModeIsASample(DiagonalGaussian):
    @property
    def mode(self):
        return self.mu + 0.7 * (0.5 * self.log_var).exp()


class WrongEntropy(DiagonalGaussian):
    def entropy(self):
        return super().entropy() - 0.5 * self.log_var.sum(-1)


class OneDrawForAll(DiagonalGaussian):
    def rsample_and_log_prob(self, draws, k=1):
        z, logq = super().rsample_and_log_prob(draws, 1)
        return z.repeat(k, 1), logq._replace(value=logq.value.repeat(k))


class GlobalNoise(DiagonalGaussian):
    def rsample_and_log_prob(self, draws, k=1):
        z = self.mu.repeat(k, 1) + (0.5 * self.log_var.repeat(k, 1)).exp() * torch.randn(
            k * len(self.mu), self.mu.shape[1], dtype=self.mu.dtype
        )
        value = torch.cat([self.log_prob(part).value for part in z.chunk(k)])
        return z, self.log_prob(self.mu)._replace(value=value)


class HalfOfTheKl(DiagonalGaussian):
    """Its closed form, below, lacks the factor one half."""


CLOSED_FORMS[HalfOfTheKl, StandardNormal] = lambda q, p, condition: (
    q.mu.square() + q.log_var.exp() - q.log_var - 1
).sum(-1)


class InventsADensity(Point):
    def log_prob(self, z):
        return LogProb(z.new_zeros(len(z)))


class AttachedStatistics(DiagonalGaussian):
    def statistics(self):
        return {"z_mean": self.mu.requires_grad_().mean()}


def _bug(bug, posterior, caught_by):
    return Tooth("posterior", bug, partial(build, posterior), caught_by)


def _head(bug, head, caught_by):
    return Tooth("posterior", bug, head, caught_by)


class KeepsAGradient(DiagonalGaussian):
    def detached(self):
        return DiagonalGaussian(self.mu.detach(), self.log_var + 0 * self.mu.requires_grad_())


class RepeatsRowByRow(DiagonalGaussian):
    def repeated(self, k):
        return DiagonalGaussian(*(p.repeat_interleave(k, 0) for p in (self.mu, self.log_var)))


class StoresTheDeviation(DiagonalGaussian):
    def stored(self):
        return torch.stack([self.mu, self.log_var / 2], 1)


class RightHead(PosteriorHead):
    """A diagonal Gaussian; every wrong one below changes a line of it."""

    def __init__(self, feature_shape, latent_shape):
        super().__init__(feature_shape, latent_shape)
        self.body = nn.Flatten()
        self.line = nn.Linear(math.prod(feature_shape), 2 * math.prod(latent_shape))

    def _forward(self, features):
        numbers = self.line(self.body(features)).reshape(-1, 2, *self.latent_shape)
        return DiagonalGaussian(numbers[:, 0], numbers[:, 1])


class ForgetsTheLatentShape(RightHead):
    def __init__(self, feature_shape, latent_shape):
        super().__init__(feature_shape, latent_shape)
        self.latent_shape = (*latent_shape, 1)

    def _forward(self, features):
        numbers = self.line(self.body(features)).reshape(-1, 2, *self.latent_shape[:-1])
        return DiagonalGaussian(numbers[:, 0], numbers[:, 1])


class HidesAPoint(RightHead):
    def _forward(self, features):
        return Point(super()._forward(features).mu)


class IgnoresTheFeatures(RightHead):
    def _forward(self, features):
        return super()._forward(0 * features)


class ClaimsASphere(RightHead):
    latent_support = Support.SPHERE


class TakesAnyFeatures(RightHead):
    def forward(self, features):
        wanted = math.prod(self.feature_shape)
        return self._forward(features.reshape(-1, wanted))


RIGHT = [RightHead, partial(build, DiagonalGaussian), partial(build_point, Point)]
TEETH = [
    _bug("rows are laid out row by row", RowsInterleaved, "samples_come_draw_by_draw"),
    _bug("every draw is the same", OneDrawForAll, "samples_come_draw_by_draw"),
    _bug("the variance scales the noise", VarianceForDeviation, "its_density_integrates_to_one"),
    _bug("log 2 pi is missing", NoConstant, "its_density_integrates_to_one"),
    _bug(
        "log q is that of another draw", DensityOfAnotherDraw, "the_density_of_a_draw_is_log_prob"
    ),
    _bug("the mode is off", ModeIsASample, "the_mode_is_most_probable"),
    _bug("the entropy lacks the variance", WrongEntropy, "the_entropy_equals_monte_carlo"),
    _bug("noise from torch's global generator", GlobalNoise, "draws_decide_its_samples"),
    _bug("the KL lacks its half", HalfOfTheKl, "the_closed_form_kl_equals_monte_carlo"),
    Tooth(
        "posterior",
        "a number where there is no density",
        partial(build_point, InventsADensity),
        "a_density_that_is_not_there_is_refused",
    ),
    _bug("detached keeps a gradient", KeepsAGradient, "what_is_detached_has_no_gradient"),
    _bug("rows are repeated row by row", RepeatsRowByRow, "what_is_repeated_is_the_same"),
    _bug("deviations are stored", StoresTheDeviation, "what_is_stored_is_restored"),
    _head("its shape is another", ForgetsTheLatentShape, "the_latent_has_the_declared_shape"),
    _head("a point is none declared", HidesAPoint, "the_latent_has_the_declared_shape"),
    _head("features are ignored", IgnoresTheFeatures, "the_features_matter"),
    _head("draws leave the support", ClaimsASphere, "draws_lie_where_declared"),
    _head("features of any shape", TakesAnyFeatures, "wrong_features_are_refused"),
    _bug("a statistic keeps its graph", AttachedStatistics, "its_statistics_are_numbers"),
]
