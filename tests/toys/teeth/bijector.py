"""Bijectors with one mistake each; `Right` has none."""

import copy
from functools import partial

import torch
from torch import nn

from corekit.errors import ShapeError
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.numerical import Contractive, Mapped
from corekit.nn.mlp import Mlp
from teeth import Tooth


class Right(Bijector):
    """An affine map of the second half whose scale and shift come from the first and the context.

    Every wrong one below changes a line of it.
    """

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Right: event_shape must be (features,), got {event_shape}.")
        self.event_shape, self.context_shape = tuple(event_shape), context_shape
        features = event_shape[0]
        mask = (torch.arange(features) < features // 2).float()
        self.register_buffer("mask", mask)
        self.net = nn.Sequential(
            nn.Linear(features + (context_shape or (0,))[0], 8),
            nn.Tanh(),
            nn.Linear(8, features * 2),
        )

    def numbers(self, kept, context):
        given = kept if context is None else torch.cat([kept, context], 1)
        raw, shift = self.net(given).chunk(2, 1)
        log_scale = torch.tanh(raw.to(torch.promote_types(raw.dtype, torch.float32)))
        return log_scale * (1 - self.mask), shift * (1 - self.mask)

    def summed(self, log_scale):
        return log_scale.sum(1)

    def _forward(self, x, context):
        log_scale, shift = self.numbers(x * self.mask, context)
        return x * log_scale.exp().to(x.dtype) + shift, self.summed(log_scale)

    def _inverse(self, z, context):
        log_scale, shift = self.numbers(z * self.mask, context)
        return (z - shift) * (-log_scale).exp().to(z.dtype), -self.summed(log_scale)


class SignOfLogdet(Right):
    def _forward(self, x, context):
        z, logdet = super()._forward(x, context)
        return z, -logdet


class SignOfInverseLogdet(Right):
    def _inverse(self, z, context):
        x, logdet = super()._inverse(z, context)
        return x, -logdet


class BothSigns(SignOfLogdet, SignOfInverseLogdet):
    pass


class DetachedScale(Right):
    def numbers(self, kept, context):
        log_scale, shift = super().numbers(kept, context)
        return log_scale.detach(), shift


class MeanForSum(Right):
    def summed(self, log_scale):
        return log_scale.mean(1)


class SumOverTheBatch(Right):
    def summed(self, log_scale):
        return log_scale.sum().expand(len(log_scale))


class HalfAccumulator(Right):
    def summed(self, log_scale):
        low = log_scale if log_scale.dtype is torch.float64 else log_scale.bfloat16()
        return low.sum(1)


class FloatAccumulator(Right):
    def summed(self, log_scale):
        return log_scale.float().sum(1)


class LooseMask(Right):
    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        mask = self.mask
        del self.mask
        self.mask = mask


class RandomOrderIsLost(Right):
    """A permutation that is drawn anew by every constructor and not saved."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.order = torch.randperm(event_shape[0]).tolist()

    def _forward(self, x, context):
        return super()._forward(x[:, self.order], context)

    def _inverse(self, z, context):
        x, logdet = super()._inverse(z, context)
        back = torch.empty_like(x)
        back[:, self.order] = x
        return back, logdet


class RowsMix(Right):
    def _forward(self, x, context):
        return self.shifted(super()._forward, x, context, 1)

    def _inverse(self, z, context):
        return self.shifted(super()._inverse, z, context, -1)

    def shifted(self, map_, x, context, sign):
        kept = (x * self.mask).mean(0)
        x = x - (1 - self.mask) * kept.sum() if sign > 0 else x
        y, logdet = map_(x, context)
        return (y if sign > 0 else y + (1 - self.mask) * kept.sum()), logdet


class InPlace(Right):
    def _forward(self, x, context):
        log_scale, shift = self.numbers(x * self.mask, context)
        x *= log_scale.exp().to(x.dtype)
        return x + shift, self.summed(log_scale)


class WrongInverse(Right):
    def _inverse(self, z, context):
        log_scale, shift = self.numbers(z * self.mask, context)
        return z * (-log_scale).exp().to(z.dtype) - shift, -self.summed(log_scale)


class SinglePrecisionInside(Right):
    def _forward(self, x, context):
        log_scale, shift = self.numbers(x * self.mask, context)
        return (x.float() * log_scale.exp().float() + shift.float()).to(x), self.summed(log_scale)


class FreshTensor(Right):
    """Makes a tensor of the default dtype on the default device."""

    def summed(self, log_scale):
        return torch.zeros(len(log_scale)) + log_scale.sum(1)


class IgnoresContext(Right):
    def numbers(self, kept, context):
        return super().numbers(kept, None if context is None else torch.zeros_like(context))


class SkipsTheShapeCheck(Right):
    def forward(self, x, context=None):
        return self._forward(x, context)


class Folded(Bijector):
    """x + 2 sin x with the right Jacobian: many points go to one."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.has_inverse = False

    def _forward(self, x, context):
        slope = 1 + 2 * x.cos()
        return x + 2 * x.sin(), slope.abs().log().flatten(1).sum(1)

    def _inverse(self, z, context):
        raise NotImplementedError


class AlwaysInitialises(Right):
    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.center = nn.Parameter(torch.zeros(event_shape))

    def initialize(self, x, context=None):
        with torch.no_grad():
            self.center.copy_(x.mean(0))
        return super().initialize(x, context)

    def _forward(self, x, context):
        return super()._forward(x - self.center, context)

    def _inverse(self, z, context):
        x, logdet = super()._inverse(z, context)
        return x + self.center, logdet


class ForgetsThatItIsInitialised(AlwaysInitialises):
    """Remembers it in an attribute, which no state dict holds."""

    done = False

    def initialize(self, x, context=None):
        if self.done:
            return Bijector.initialize(self, x, context)
        self.done = True
        return super().initialize(x, context)


class ForgetsItsNetwork(Right):
    """Shifts by a network of nothing, which is never told to start."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.net = Mlp((1,), event_shape, hidden=(3,), zero_last=False)

    def shift(self, x):
        return self.net(x.new_ones(len(x), 1))

    def _forward(self, x, context):
        return super()._forward(x - self.shift(x), context)

    def _inverse(self, z, context):
        x, logdet = super()._inverse(z, context)
        return x + self.shift(x), logdet


class AveragesInEvalMode(Right):
    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.register_buffer("seen", torch.zeros(event_shape))

    def _forward(self, x, context):
        with torch.no_grad():
            self.seen.lerp_(x.mean(0) if len(x) else self.seen, 0.1)
        return super()._forward(x, context)


class UnusedParameter(Right):
    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.spare = nn.Parameter(torch.zeros(3))


class ReadsANumber(Right):
    """A host sync in the middle: no graph, and no meta device."""

    def summed(self, log_scale):
        total = log_scale.sum(1)
        return total if len(total) == 0 or total.abs().max().item() < 1e6 else total * 0


class HoldsALambda(Right):
    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.activation = lambda v: v


class DrawsFromTheGlobalGenerator(Right):
    def _forward(self, x, context):
        torch.rand(())
        return super()._forward(x, context)


class CannotBeEmpty(Right):
    def summed(self, log_scale):
        return torch.stack([row.sum() for row in log_scale])


class ClaimsToBeExact(Right):
    """Hutchinson's estimate, with a fixed probe, under the name of an exact number."""

    def summed(self, log_scale):
        probe = torch.sign(torch.sin(torch.arange(log_scale.shape[1]) * 12.9898)).to(log_scale)
        return (log_scale.sum(1) * probe[0]) * probe[1]


class ConstantInHalfPrecision(Bijector):
    """One log-determinant for all rows, summed in the precision of the weights."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.log_scale = nn.Parameter(torch.zeros(event_shape))

    def _forward(self, x, context):
        return x * self.log_scale.exp(), self.log_scale.sum().expand(len(x))

    def _inverse(self, z, context):
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(len(z))


class KeepsTheLastFeature(Right):
    """Leaves the shape that it declares: a feature is lost on the way."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        self.has_inverse = False

    def _forward(self, x, context):
        z, logdet = super()._forward(x, context)
        return z[:, :-1], logdet


class NotOnto(Bijector):
    """z = arctan x: the inverse is right where data lead, and latents beyond pi/2 have none."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)

    def _forward(self, x, context):
        return x.arctan(), -torch.log1p(x.square()).flatten(1).sum(1)

    def _inverse(self, z, context):
        x = z.tan()
        return x, torch.log1p(x.square()).flatten(1).sum(1)


class CancelsInFloat32(Right):
    """A large shift that is added and taken away: nothing in float64, digits in float32."""

    def _forward(self, x, context):
        z, logdet = super()._forward(x, context)
        return (z + 1e5) - 1e5, logdet


class BiasedEstimate(Right):
    """An estimate of the log-determinant by a random probe, with the wrong variance."""

    logdet_kind = Likelihood.UNBIASED
    spread = 1.2

    def summed(self, log_scale):
        probe = self.spread * torch.randn_like(log_scale)
        return (log_scale * probe.square()).sum(1)


class Estimate(BiasedEstimate):
    spread = 1.0


class LooksAtItsWeights(Right):
    """A constructor that reads numbers: there are none on the meta device."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__(event_shape, context_shape)
        if self.net[0].weight.abs().max().item() > 1e3:
            raise ValueError("too large")


class SharesItsWeights(Right):
    def __deepcopy__(self, memo):
        other = copy.copy(self)
        other.__dict__ = dict(self.__dict__)
        return other


class Found(Contractive):
    """x + g(x) with a contractive g, and no formula for its inverse."""

    bound = 0.5

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape, self.context_shape = tuple(event_shape), context_shape
        self.angle = nn.Parameter(torch.ones(event_shape))
        self.shift = nn.Linear((context_shape or (1,))[0], 1)

    def _forward(self, x, context):
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        given = wide.new_ones(len(x), 1) if context is None else context
        shift = self.shift(given.to(self.shift.weight.dtype)).reshape(-1, *(1,) * (x.ndim - 1))
        angle = wide + self.angle + shift
        z = wide + self.bound * torch.sin(angle)
        return z.to(x.dtype), torch.log1p(self.bound * torch.cos(angle)).flatten(1).sum(1)


class NotContractive(Found):
    bound = 3.0


class Valued(Mapped):
    """Only the value is written: features bend, and turn by an angle that the context gives."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        if len(event_shape) != 1:
            raise ShapeError(f"Valued: event_shape must be (features,), got {event_shape}.")
        self.event_shape, self.context_shape = tuple(event_shape), context_shape
        self.weight = nn.Parameter(torch.eye(event_shape[0]))
        self.shift = nn.Linear((context_shape or (1,))[0], event_shape[0])

    def _map(self, x, context):
        given = x.new_ones(len(x), 1) if context is None else context
        y = x + 0.5 * torch.tanh(x) + self.shift(given)
        return torch.nn.functional.linear(y, self.weight)


class SpreadsRows(Valued):
    """Looks at other rows, so that the Jacobian of a row alone is another one."""

    def _map(self, x, context):
        return super()._map(x * (1 + x.square().mean(0).sum()), context)


_bug = partial(Tooth, "bijector")
RIGHT = [Right, Found, Valued]
TEETH = [
    _bug(
        "the log-determinant has the wrong sign",
        SignOfLogdet,
        "logdet_equals_the_autograd_jacobian",
    ),
    _bug(
        "the log-determinant of the inverse has the wrong sign",
        SignOfInverseLogdet,
        "the_inverse_logdet_is_minus_the_forward_one",
    ),
    _bug(
        "both log-determinants have the wrong sign",
        BothSigns,
        "logdet_equals_the_autograd_jacobian",
    ),
    _bug("the scale is detached", DetachedScale, "gradients_equal_finite_differences"),
    _bug(
        "the log-determinant is a mean over the features, not a sum",
        MeanForSum,
        "logdet_equals_the_autograd_jacobian",
    ),
    _bug("the log-determinant is summed over the batch", SumOverTheBatch, "rows_do_not_mix"),
    _bug("the log-determinant is summed in bfloat16", HalfAccumulator, "it_runs_under_autocast"),
    _bug(
        "the log-determinant is summed in float32 where x is float64",
        FloatAccumulator,
        "logdet_equals_the_autograd_jacobian",
    ),
    _bug(
        "the mask is a plain attribute, not a buffer",
        LooseMask,
        "every_tensor_is_a_parameter_or_a_buffer",
    ),
    _bug("a random permutation is not saved", RandomOrderIsLost, "a_state_dict_restores_it"),
    _bug("a row depends on the mean of the batch", RowsMix, "rows_do_not_mix"),
    _bug("the input is changed in place", InPlace, "the_input_is_untouched"),
    _bug("the inverse scales before it shifts", WrongInverse, "inverse_undoes_forward"),
    _bug("float64 passes through float32", SinglePrecisionInside, "inverse_undoes_forward"),
    _bug("a tensor is made on the default device", FreshTensor, "the_device_is_that_of_the_input"),
    _bug("the context is taken and ignored", IgnoresContext, "the_context_matters"),
    _bug(
        "the public method is overridden, so shapes are not checked",
        SkipsTheShapeCheck,
        "wrong_inputs_are_refused",
    ),
    _bug("the map is many to one", Folded, "the_density_integrates_to_one"),
    _bug("every batch initialises it anew", AlwaysInitialises, "it_is_initialised_from_data_once"),
    _bug(
        "a restored copy is initialised again",
        ForgetsThatItIsInitialised,
        "it_is_initialised_from_data_once",
    ),
    _bug("its network is not started", ForgetsItsNetwork, "its_networks_start_from_data"),
    _bug("a running average moves in eval mode", AveragesInEvalMode, "evaluation_changes_no_state"),
    _bug("a parameter is not used", UnusedParameter, "gradients_reach_every_parameter"),
    _bug("a number is read on the host", ReadsANumber, "it_compiles"),
    _bug(
        "a lambda is kept, so it cannot be pickled", HoldsALambda, "copies_are_equal_and_separate"
    ),
    _bug(
        "numbers are drawn from torch's global generator",
        DrawsFromTheGlobalGenerator,
        "the_same_input_gives_the_same_output",
    ),
    _bug("an empty batch fails", CannotBeEmpty, "an_empty_batch_is_fine"),
    _bug("an estimate claims to be exact", ClaimsToBeExact, "logdet_equals_the_autograd_jacobian"),
    _bug("a constant one is summed in bfloat16", ConstantInHalfPrecision, "it_runs_in_bfloat16"),
    _bug("a feature is lost", KeepsTheLastFeature, "shapes_are_as_declared"),
    _bug("some latents have no data", NotOnto, "forward_undoes_inverse"),
    _bug("float32 loses digits", CancelsInFloat32, "the_round_trip_holds_in_float32"),
    _bug("an unbiased estimate is biased", BiasedEstimate, "the_estimated_logdet_is_of_its_kind"),
    _bug("the constructor reads its weights", LooksAtItsWeights, "it_builds_on_the_meta_device"),
    _bug("a copy shares its weights", SharesItsWeights, "copies_are_equal_and_separate"),
    _bug("a contraction is none", NotContractive, "inverse_undoes_forward"),
    _bug("a map of which only the value is written mixes rows", SpreadsRows, "rows_do_not_mix"),
]
