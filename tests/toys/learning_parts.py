"""Parts that learn from losses and from data: for the tests of the trainer."""

import math
from contextlib import ExitStack
from typing import Literal

import torch
from gan_toy import Gan, GanSpec
from pydantic import Field
from torch import nn

import corekit
from corekit.interfaces.bijector import Bijector, logdet_dtype, no_logdet
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.spec import Spec


class LossAwareSpec(Spec):
    """Steps with a large loss more often."""

    type: Literal["toy.loss_aware"] = "toy.loss_aware"
    steps: int = Field(20, description="steps of the schedule")


class LossAware(TimestepSampler):
    """Draws step t as often as the mean of its losses says, half of the time uniformly.

    The levels of a batch, over all processes, are spread evenly: row i of n is in stratum i of n.
    """

    def __init__(self, *, steps=20):
        super().__init__()
        self.register_buffer("means", torch.ones(steps))
        self.register_buffer("rows", torch.zeros((), dtype=torch.int64))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        share = 0.5 / len(self.means) + 0.5 * self.means / self.means.sum()
        strata = torch.arange(n, device=device) + n * rank
        u = (strata + draws.uniform("t", (n,), self.means)) / (n * world)
        t = torch.searchsorted(share.cumsum(0), u).clamp(max=len(share) - 1)
        return schedule.level(t), 1 / (len(share) * share[t])

    def observe(self, t, losses):
        sums = torch.zeros_like(self.means).index_add_(0, t, losses)
        seen = torch.zeros_like(self.means).index_add_(0, t, torch.ones_like(losses))
        moved = 0.9 * self.means + 0.1 * sums / seen.clamp(min=1)
        self.means.copy_(torch.where(seen > 0, moved, self.means))
        self.rows += len(losses)
        self.calls += 1


class DataNormSpec(Spec):
    """Mean zero and deviation one on the first data."""

    type: Literal["toy.data_norm"] = "toy.data_norm"


class DataNorm(Bijector):
    """z = (x - shift) / scale, set by `initialize` once."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.shift = nn.Parameter(torch.zeros(self.event_shape))
        self.log_scale = nn.Parameter(torch.zeros(self.event_shape))
        self.register_buffer("ready", torch.zeros((), dtype=torch.bool))

    def initialize(self, x, context=None):
        if not self.ready:
            self.shift.copy_(x.mean(0))
            self.log_scale.copy_(x.std(0).log())
            self.ready.fill_(True)
        return super().initialize(x, context)

    def _forward(self, x, context):
        logdet = -self.log_scale.to(logdet_dtype(x)).sum().expand(len(x))
        return (x - self.shift) * (-self.log_scale).exp(), logdet

    def _inverse(self, z, context):
        logdet = self.log_scale.to(logdet_dtype(z)).sum().expand(len(z))
        return z * self.log_scale.exp() + self.shift, logdet


class GainSpec(Spec):
    """One number for all coordinates."""

    type: Literal["toy.gain"] = "toy.gain"


class Gain(Bijector):
    """z = gain * x, with a parameter that has no axes."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.log_gain = nn.Parameter(torch.tensor(0.1))

    def _logdet(self, x):
        return (math.prod(self.event_shape) * self.log_gain.to(logdet_dtype(x))).expand(len(x))

    def _forward(self, x, context):
        return x * self.log_gain.exp(), self._logdet(x)

    def _inverse(self, z, context):
        return z * (-self.log_gain).exp(), -self._logdet(z)


class IdleSpec(Spec):
    """The identity, with a parameter that nothing needs."""

    type: Literal["toy.idle"] = "toy.idle"


class Idle(Bijector):
    """z = x."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.idle = nn.Parameter(torch.zeros(3))

    def _forward(self, x, context):
        return x, no_logdet(x)

    _inverse = _forward


def offered():
    """A `with` block in which specs may name these parts."""
    stack = ExitStack()
    for kind, spec, target in (
        ("timestep_sampler", LossAwareSpec, LossAware),
        ("bijector", DataNormSpec, DataNorm),
        ("model", GanSpec, Gan),
        ("bijector", GainSpec, Gain),
        ("bijector", IdleSpec, Idle),
    ):
        name = spec.model_fields["type"].default
        stack.enter_context(corekit.register(kind, name, spec=spec, target=target))
    return stack
