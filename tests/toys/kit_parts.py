"""A bijector for the tests of the conformance kit, and a spec in the wrong place."""

import math
from typing import Literal

import torch
from torch import nn

from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.spec import Spec


class Scale(Bijector):
    """z = s x, s > 0 for each number."""

    def __init__(self, event_shape, context_shape=None, *, start=1.0):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.log_scale = nn.Parameter(torch.full(self.event_shape, math.log(start)))

    def _forward(self, x, context):
        return x * self.log_scale.exp(), self._logdet(x)

    def _inverse(self, z, context):
        return z * (-self.log_scale).exp(), -self._logdet(z)

    def _logdet(self, x):
        return self.log_scale.to(logdet_dtype(x)).sum().expand(len(x))


class Needy(Scale):
    """One more number is needed."""

    def __init__(self, event_shape, context_shape=None, *, start=1.0, end):
        super().__init__(event_shape, context_shape, start=start)


class HeavySpec(Spec):
    """A spec beside its class."""

    type: Literal["kit.heavy"] = "kit.heavy"
