"""Priors with one mistake each."""

import math
from functools import partial

import torch
from torch import nn

from corekit.errors import ShapeError
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.records import LossTerms
from corekit.nn.mlp import Mlp
from teeth import Tooth


class Right(Prior):
    """A Laplace distribution with a location and a scale per number."""

    def __init__(self, event_shape, condition=None):
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Right: event_shape must be (features,), got {event_shape}.")
        self.event_shape = tuple(event_shape)
        self.center = nn.Parameter(torch.zeros(event_shape))
        self.log_scale = nn.Parameter(torch.zeros(event_shape))

    def _log_prob(self, x, condition, draws):
        wide = (x - self.center).to(torch.promote_types(x.dtype, torch.float32))
        error = wide.abs() * (-self.log_scale).exp()
        return LogProb(-(error + self.log_scale + math.log(2)).sum(1))

    def _sample(self, n, condition, shape, temperature, draws, **options):
        u = draws.uniform("x", (n, *shape), self.center) - 0.5
        noise = -u.sign() * torch.log1p(-2 * u.abs()) * self.noise_scale()
        return (self.center + temperature * noise).detach()

    def noise_scale(self):
        return self.log_scale.exp()


class Conditional(Right):
    """Its location is a linear map of the condition, if there is one."""

    def __init__(self, event_shape, condition=None):
        super().__init__(event_shape)
        if condition:
            self.condition_shapes = dict(condition)
            self.map = nn.Linear(condition["vector"][0], event_shape[0])

    def located(self, condition):
        return self.map(condition.vector) if self.condition_shapes else 0

    def _log_prob(self, x, condition, draws):
        return super()._log_prob(x - self.located(condition), condition, draws)

    def _sample(self, n, condition, shape, temperature, draws, **options):
        x = super()._sample(n, condition, shape, temperature, draws)
        return (x + self.located(condition)).detach()


class WrongScale(Right):
    def noise_scale(self):
        return (2 * self.log_scale).exp()


class WrongConstant(Right):
    def _log_prob(self, x, condition, draws):
        logp = super()._log_prob(x, condition, draws)
        return logp._replace(value=logp.value + math.log(2))


class MeanOverTheEvent(Right):
    def _log_prob(self, x, condition, draws):
        logp = super()._log_prob(x, condition, draws)
        return logp._replace(value=logp.value / x.shape[1])


class OffCentre(Right):
    def _sample(self, *args, **options):
        return super()._sample(*args, **options) + 0.3


class EstimateCalledExact(Right):
    def _log_prob(self, x, condition, draws):
        logp = super()._log_prob(x, condition, draws)
        noise = draws.normal("probe", (len(x),), x).to(logp.value.dtype)
        return logp._replace(value=logp.value + noise)


class BoundCalledExact(Right):
    """A deterministic number below log p(x), under the name of log p(x)."""

    def _log_prob(self, x, condition, draws):
        logp = super()._log_prob(x, condition, draws)
        return logp._replace(value=logp.value - 0.3)


class OtherKindThanDeclared(Right):
    kind = Likelihood.BOUND


class GlobalNoise(Right):
    def _sample(self, n, condition, shape, temperature, draws, **options):
        return super()._sample(n, condition, shape, temperature, Draws())


class SamplesKeepTheGraph(Right):
    def _sample(self, n, condition, shape, temperature, draws, **options):
        return self.center + super()._sample(n, condition, shape, temperature, draws, **options)


class LossInBits(Right):
    def _loss(self, x, condition, draws):
        nll = -self._log_prob(x, condition, draws).value / math.log(2)
        return LossTerms(nll, {"nll": nll}, units={"nll": "nats"})


class NoUnit(Right):
    def _loss(self, x, condition, draws):
        return super()._loss(x, condition, draws)._replace(units={})


class TotalOverTheBatch(Right):
    def _loss(self, x, condition, draws):
        terms = super()._loss(x, condition, draws)
        return terms._replace(total=terms.total.mean())


class InventsADensity(Right):
    kind = Likelihood.NONE

    def log_prob(self, x, condition=None, *, generator=None):
        return self._log_prob(x, condition, generator)


class DeafToItsCondition(Conditional):
    def located(self, condition):
        return self.map.bias if self.condition_shapes else 0


class Unchecked(Right):
    def loss(self, x, condition=None, draws=None):
        return self._loss(x, condition, draws)


class FalselyFree(Right):
    """Says that an event may have any length, and has parameters of one."""

    free_axes = (0,)


class HalfSum(Right):
    def _log_prob(self, x, condition, draws):
        logp = super()._log_prob(x, condition, draws)
        low = logp.value if x.dtype is torch.float64 else logp.value.bfloat16().float()
        return logp._replace(value=low)


class ForgetsItsNetwork(Conditional):
    """Its network starts in the constructor, not from the condition."""

    def __init__(self, event_shape, condition=None):
        super().__init__(event_shape, condition)
        self.net = Mlp((1,), event_shape, hidden=(3,), zero_last=False)

    def located(self, condition):
        return super().located(condition) + self.net(self.center.new_ones(1, 1))


_bug = partial(Tooth, "prior")
RIGHT = [Right, Conditional]
TEETH = [
    _bug("samples have another scale", WrongScale, "samples_obey_the_stein_identities"),
    _bug("samples have another centre", OffCentre, "samples_obey_the_stein_identities"),
    _bug("the constant of log_prob is wrong", WrongConstant, "samples_follow_log_prob"),
    _bug("log_prob is a mean over the event", MeanOverTheEvent, "samples_follow_log_prob"),
    _bug("an estimate claims to be exact", EstimateCalledExact, "an_exact_density_needs_no_draws"),
    _bug("a bound claims to be exact", BoundCalledExact, "samples_follow_log_prob"),
    _bug("another kind than declared", OtherKindThanDeclared, "log_prob_is_of_the_declared_kind"),
    _bug("noise from torch's global generator", GlobalNoise, "a_generator_decides_the_samples"),
    _bug("samples keep the graph", SamplesKeepTheGraph, "samples_are_as_declared"),
    _bug("bits are called nats", LossInBits, "the_loss_has_terms_with_units"),
    _bug("a term has no unit", NoUnit, "the_loss_has_terms_with_units"),
    _bug("the total is a mean over the batch", TotalOverTheBatch, "the_loss_has_terms_with_units"),
    _bug(
        "a number where there is no density",
        InventsADensity,
        "a_density_that_is_not_there_is_refused",
    ),
    _bug("the condition is taken and ignored", DeafToItsCondition, "the_condition_matters"),
    _bug("shapes are not checked", Unchecked, "wrong_shapes_are_refused"),
    _bug("an axis is called free and is not", FalselyFree, "a_free_axis_may_have_any_length"),
    _bug("its network is not started", ForgetsItsNetwork, "its_networks_start_from_data"),
    _bug("log_prob is rounded to bfloat16", HalfSum, "it_runs_under_autocast"),
]
