"""A component as it is built for the checks: the same weights every time, far from special ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from corekit.data_spec import DataSpec, Shape, Support
from corekit.interfaces.density import Prior
from corekit.interfaces.loss import Loss
from corekit.spec import Spec
from corekit.testing.conformance import Conformance
from corekit.testing.echo import Echo
from corekit.testing.linear_gaussian import LinearGaussian

ROWS = 4
"""Rows of a batch, unless a check needs more."""


@dataclass(frozen=True)
class Case:
    """One component with the options and shapes of one test.

    Args:
        kind: Kind of the component.
        name: What reports call it: its registered name, or that of its class.
        factory: Builds it from what the build gives its kind.
        given: Those shapes.
        how: How it wants to be tested.
        spec: Its spec, if it came from one.
        options: What the spec says beyond its smallest example.
        first: Whether it is the first case of its component.
    """

    kind: str
    name: str
    factory: Callable[..., Any]
    given: Mapping[str, Any] = field(default_factory=dict)
    how: Conformance = field(default_factory=Conformance)
    spec: Spec | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    first: bool = True

    @property
    def component(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    @property
    def label(self) -> str:
        """What distinguishes this case from others of the component."""
        facts = {**self.given, **self.options}
        return ", ".join(f"{k}={_short(v)}" for k, v in facts.items() if v not in (None, {}))

    @cached_property
    def part(self) -> Any:
        """A built one, to ask for its shapes and claims; not for computing."""
        return self.fresh()

    def fresh(self, seed: int = 0, **other: Any) -> Any:
        """As the constructor leaves it; ``other`` replaces what it is built with.

        A loss is prepared for the model that it is exercised on, a prior attached to an encoder.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            part = self.factory(**{**self.given, **other})
            if isinstance(part, Loss):
                with torch.device("cpu"):
                    model = LinearGaussian(exact=False).model
                part.prepare(model)
            if isinstance(part, Prior):
                part.attach(Echo(part.event_shape))
            return part

    def ready(self, dtype: torch.dtype = torch.float64, **other: Any) -> Any:
        """With random weights and in eval mode, the same ones in every dtype."""
        part = self.fresh(**other)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            (self.how.prepare or redraw)(part)
        return part.to(dtype).eval() if isinstance(part, nn.Module) else part

    def draw(self, shape: Shape, support: Support, dtype: torch.dtype, rows: int = ROWS) -> Tensor:
        """Random rows of a support; the last one is far out."""
        if self.how.inputs is not None and support is not Support.CODES:
            x: Tensor = self.how.inputs(rows, dtype)
            return x
        return on_support(torch.randn(rows, *shape, dtype=torch.float64), support).to(dtype)


def _short(value: Any) -> str:
    """A value in a few characters: of a part its type, of a data set its shape."""
    if isinstance(value, DataSpec):
        return str(value.event_shape)
    if isinstance(value, Mapping) and "type" in value:
        return str(value["type"])
    return str(value)


def on_support(x: Tensor, support: Support) -> Tensor:
    """Map standard normal rows ``(B, ...)`` to a support, the last row three times as far out."""
    scale = torch.ones(len(x), *(1,) * (x.ndim - 1), dtype=x.dtype)
    scale[-1:] = 3.0
    x = x * scale
    if support is Support.POSITIVE:
        return torch.exp(x / 2)
    if support is Support.UNIT_INTERVAL:
        return torch.sigmoid(x / 2)
    if support is Support.SYMMETRIC_INTERVAL:
        return torch.tanh(x / 2)
    if support is Support.SPHERE:
        return torch.nn.functional.normalize(x.flatten(1), dim=1).reshape(x.shape)
    if support is Support.SIMPLEX:
        return torch.softmax(x, 1)
    if support is Support.CODES:
        return (x.abs() * 2).floor().clamp(max=3)
    return x


def redraw(part: Any) -> None:
    """Move every weight of a module away from where its constructor put it.

    A new layer is often the identity, where a wrong sign does not show. Matrices and kernels get
    noise of standard deviation 0.5 / sqrt(fan-in), vectors and numbers of 0.3: enough to matter,
    and the output stays of order one.
    """
    if not isinstance(part, nn.Module):
        return
    with torch.no_grad():
        for parameter in part.parameters():
            fan_in = math.prod(parameter.shape[1:]) if parameter.ndim > 1 else None
            spread = 0.3 if fan_in is None else 0.5 / math.sqrt(fan_in)
            parameter.add_(torch.randn_like(parameter), alpha=spread)
