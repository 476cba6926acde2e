"""Dequantisers with one mistake each; `Right` has none."""

import math
from functools import partial

import torch
from torch import nn

from corekit.data_spec import Support
from corekit.interfaces.draws import as_draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.stochastic import Stochastic
from teeth import Tooth


class Right(Stochastic):
    """Uniform noise, skewed by a learned power and a context; every wrong one changes a line."""

    codomain = Support.UNIT_INTERVAL
    dequantizes = True

    def __init__(self, data, context_shape=None):
        super().__init__()
        self.event_shape, self.context_shape = data.event_shape, context_shape
        self.levels, self.bin_width, self.lowest = data.levels, data.bin_width, data.lowest
        self.power = nn.Parameter(torch.zeros(()))
        if context_shape is not None:
            self.net = nn.Linear(math.prod(context_shape), 1)

    def level(self, x):
        return self.kept(x).sub(self.lowest).div(self.bin_width).round()

    def kept(self, x):
        return x.detach().to(torch.promote_types(x.dtype, torch.float32))

    def uniform(self, draws, level):
        return draws.uniform("dequantize", level.shape, level)

    def _forward(self, x, context, draws):
        level = self.level(x)
        u = self.uniform(draws, level)
        u = u.clamp(self.edge(u), 1 - self.edge(u))
        power = self.power if context is None else self.power + self.net(context.flatten(1))
        power = torch.tanh(power.to(u.dtype)).exp().reshape(-1, *(1,) * (u.ndim - 1))
        noise = u**power
        log_slope = power.log() + (power - 1) * u.log()
        z = self.inside((level + noise) / self.levels, level)
        return z, (log_slope - math.log(self.levels)).flatten(1).sum(1)

    def edge(self, u):
        return 1e-3

    def inside(self, z, level):
        low, high = level / self.levels, (level + 1) / self.levels
        return torch.minimum(torch.maximum(z, low + 1e-6), high - 1e-6)

    def _inverse(self, z, context, draws):
        level = (z.detach() * self.levels).floor().clamp(0, self.levels - 1)
        return self.lowest + self.bin_width * level


class ForgetsTheLevels(Right):
    def _forward(self, x, context, draws):
        z, value = super()._forward(x, context, draws)
        return z, value + z[0].numel() * math.log(self.levels)


class OppositeSign(Right):
    def _forward(self, x, context, draws):
        z, value = super()._forward(x, context, draws)
        return z, -value


class ForgetsTheSlope(Right):
    def _forward(self, x, context, draws):
        z, value = super()._forward(x, context, draws)
        return z, 0 * value - z[0].numel() * math.log(self.levels)


class RoundsToTheNearest(Right):
    def _inverse(self, z, context, draws):
        return self.lowest + self.bin_width * (z * self.levels).round()


class RoundsUpAtTheEdge(Right):
    def edge(self, u):
        return 0.0

    def inside(self, z, level):
        return z


class NoiseTooWide(Right):
    def inside(self, z, level):
        return z + 0.5 / self.levels


class ClaimsToBeExact(Right):
    kind = Likelihood.EXACT


class AnotherKind(Right):
    def forward(self, x, context=None, generator=None):
        z, log_prob = super().forward(x, context, generator)
        return z, LogProb(log_prob.value, Likelihood.EXACT)


class DrawsFromTorch(Right):
    def uniform(self, draws, level):
        return torch.rand_like(level)


class OneDrawForAll(Right):
    def uniform(self, draws, level):
        return super().uniform(draws, level).mean(0, keepdim=True).expand(level.shape)


class NoDraw(Right):
    def uniform(self, draws, level):
        return 0 * level + 0.5


class InHalf(Right):
    def _forward(self, x, context, draws):
        z, value = super()._forward(x, context, draws)
        return z.to(x.dtype), value


class LevelsAsTheyAre(Right):
    def _forward(self, x, context, draws):
        z, value = super()._forward(x, context, draws)
        return z * self.levels, value + z[0].numel() * math.log(self.levels)

    def _inverse(self, z, context, draws):
        return super()._inverse(z / self.levels, context, draws)


class IgnoresContext(Right):
    def _forward(self, x, context, draws):
        return super()._forward(x, None if context is None else 0 * context, draws)


class SkipsTheCheck(Right):
    def forward(self, x, context=None, generator=None):
        z, value = self._forward(x, context, as_draws(generator))
        return z, LogProb(value, self.kind)


class LooseScale(Right):
    def __init__(self, data, context_shape=None):
        super().__init__(data, context_shape)
        self.scale = torch.ones(2)


class DoesNotSayThatItDequantizes(Right):
    dequantizes = False


class RightSlice(Stochastic):
    """The last feature or channel is Gaussian given the mean of the others; wrong ones below."""

    kind = Likelihood.EXACT
    draws_in = "inverse"

    def __init__(self, data, context_shape=None):
        super().__init__()
        self.event_shape, self.context_shape = data.event_shape, context_shape
        self.slope = nn.Parameter(torch.zeros(()))
        self.log_std = nn.Parameter(torch.zeros(()))
        if context_shape is not None:
            self.net = nn.Linear(math.prod(context_shape), 1)

    @property
    def latent_shape(self):
        return self.event_shape[0] - 1, *self.event_shape[1:]

    def mean(self, z, context):
        mean = self.slope.to(z.dtype) * z.mean(1, keepdim=True)
        if context is None:
            return mean
        shift = self.net(context.flatten(1)).to(z.dtype)
        return mean + shift.reshape(-1, *(1,) * (z.ndim - 1))

    def log_density(self, y, mean):
        wide = torch.promote_types(y.dtype, torch.float32)
        log_std = self.log_std.to(wide)
        eps = (y.to(wide) - mean.to(wide)) * (-log_std).exp()
        return -0.5 * eps.square() - log_std - 0.5 * math.log(2 * math.pi)

    def std(self):
        return self.log_std.exp()

    def eps(self, draws, z):
        return draws.normal("slice", (len(z), 1, *z.shape[2:]), z)

    def _forward(self, x, context, draws):
        z, y = x[:, :-1], x[:, -1:]
        return z, self.log_density(y, self.mean(z, context)).flatten(1).sum(1)

    def _inverse(self, z, context, draws):
        y = self.mean(z, context) + self.std().to(z.dtype) * self.eps(draws, z)
        return torch.cat((z, y), dim=1)


class VarianceForDeviation(RightSlice):
    def std(self):
        return (2 * self.log_std).exp()


class ForgetsTheDeviation(RightSlice):
    def log_density(self, y, mean):
        return super().log_density(y, mean) + self.log_std.to(y.dtype)


class ForgetsTheMean(RightSlice):
    def log_density(self, y, mean):
        return super().log_density(y, 0 * mean)


class MovesWhatItKeeps(RightSlice):
    def _inverse(self, z, context, draws):
        return super()._inverse(z * (1 + 1e-6), context, draws)


class FillsFromTorch(RightSlice):
    def eps(self, draws, z):
        return torch.randn_like(z[:, :1])


class FillsWithoutADraw(RightSlice):
    def eps(self, draws, z):
        return 0 * z[:, :1]


class RightAugment(RightSlice):
    """The same Gaussian the other way round: it is put beside the data."""

    kind = Likelihood.WEIGHT
    draws_in = "forward"

    @property
    def latent_shape(self):
        return self.event_shape[0] + 1, *self.event_shape[1:]

    def _forward(self, x, context, draws):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = self.mean(wide, context)
        e = mean + self.std().to(wide.dtype) * self.eps(draws, wide)
        value = -self.log_density(e, mean).flatten(1).sum(1)
        return torch.cat((wide, e), dim=1), self.sign * value

    sign = 1

    def _inverse(self, z, context, draws):
        return z[:, :-1]


class AddsLogQ(RightAugment):
    sign = -1


class WiderThanCounted(RightAugment):
    def std(self):
        return 1.2 * super().std()


class ClaimsAnExactWeight(RightAugment):
    kind = Likelihood.EXACT


class StartsWithTheFirstRows(Right):
    def initialize(self, x, context=None, generator=None):
        return super().initialize(x[:8], None if context is None else context[:8], generator)


_bug = partial(Tooth, "stochastic")
KIND = "its_log_prob_is_of_its_kind"
DENSITY = "its_density_is_that_of_its_samples"
RIGHT = [Right, RightSlice, RightAugment]
TEETH = [
    _bug("the width of the bins is left out", ForgetsTheLevels, KIND),
    _bug("log q is added, not subtracted", OppositeSign, KIND),
    _bug("the noise is not uniform, and counted as if it were", ForgetsTheSlope, KIND),
    _bug("a weight claims to be exact", ClaimsToBeExact, KIND),
    _bug("it gives another kind than it declares", AnotherKind, "shapes_and_kind_are_as_declared"),
    _bug("z leaves its support", LevelsAsTheyAre, "shapes_and_kind_are_as_declared"),
    _bug("the inverse rounds to the nearest level", RoundsToTheNearest, "what_is_drawn_leads_back"),
    _bug("the largest draw rounds up", RoundsUpAtTheEdge, "what_is_drawn_leads_back"),
    _bug("the noise leaves its bin", NoiseTooWide, "what_is_drawn_leads_back"),
    _bug("noise is drawn from torch's global generator", DrawsFromTorch, "the_draws_alone_decide"),
    _bug("nothing is drawn", NoDraw, "the_draws_alone_decide"),
    _bug("one draw serves the whole batch", OneDrawForAll, "rows_do_not_mix"),
    _bug("z is rounded to half precision", InHalf, "it_runs_in_bfloat16"),
    _bug("the context is taken and ignored", IgnoresContext, "the_context_matters"),
    _bug(
        "the public method is overridden, so shapes are not checked",
        SkipsTheCheck,
        "wrong_inputs_are_refused",
    ),
    _bug("it does not say that it dequantizes", DoesNotSayThatItDequantizes, KIND),
    _bug("a slice is drawn with a variance for a deviation", VarianceForDeviation, DENSITY),
    _bug("the deviation of what is dropped is not counted", ForgetsTheDeviation, DENSITY),
    _bug("the mean of what is dropped is not counted", ForgetsTheMean, DENSITY),
    _bug("log q of what is added is added", AddsLogQ, DENSITY),
    _bug("what is added is drawn wider than counted", WiderThanCounted, DENSITY),
    _bug("a weight of real numbers claims to be exact", ClaimsAnExactWeight, DENSITY),
    _bug("the way back moves what was kept", MovesWhatItKeeps, "what_is_drawn_leads_back"),
    _bug("what was dropped is drawn from torch", FillsFromTorch, "the_draws_alone_decide"),
    _bug("what was dropped comes back without a draw", FillsWithoutADraw, "the_draws_alone_decide"),
    _bug("it starts from a few rows only", StartsWithTheFirstRows, "it_starts_from_data"),
    _bug("it holds a tensor", LooseScale, "every_tensor_is_a_parameter_or_a_buffer"),
]
