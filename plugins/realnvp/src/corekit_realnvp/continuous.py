"""Continuous normalizing flows."""

import math
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.errors import UsageError
from corekit.flows.coupling import NetworkFactory
from corekit.interfaces.bijector import Bijector, logdet_dtype
from corekit.interfaces.likelihood import Likelihood
from corekit.nn.convnet import ConvNet
from corekit.nn.mlp import Mlp
from corekit.nn.ode import TABLEAUS, Trace, integrate, probes, with_trace
from corekit_realnvp.ode import integrate_adaptively

Solver = Literal["rk4", "dopri5", "midpoint", "euler", "adaptive"]

_TIMES = 3  # t, cos pi t, sin pi t


class Continuous(Bijector):
    r"""Follow a velocity field from time 0, the data, to time 1, the latents.

    .. math::
        \frac{dx}{dt} = f(x, t, c), \qquad
        \log|\det \partial z / \partial x| = \int_0^1 \mathrm{tr} \frac{\partial f}{\partial x}\, dt

    f is any network, given the time (as t, cos pi t, sin pi t) beside the context. Trained by
    likelihood, gradients go through the solver; or it is trained without solving anything, by flow
    matching: ``train_by: flow_matching`` of a flow.

    ==========  ======================================================================  ========
    trace       how                                                                     kind
    ==========  ======================================================================  ========
    exact       D products with the Jacobian: for few dimensions                        exact
    hutchinson  v'Jv with one random sign vector v per row, the same at all times       unbiased
    ==========  ======================================================================  ========

    What is exact or unbiased is so up to the error of the solver: on a fixed grid it falls with
    the order of the method, and rows do not influence each other. Compare two numbers of steps.

    Args:
        event_shape: Shape of x without the batch.
        context_shape: Shape of the context, or None.
        net: Factory of the network, ``in_shape`` and ``out_shape`` that of the event; a perceptron
            or for images convolutions, with SiLU and zero at first, unless given.
        solver: rk4, dopri5, midpoint or euler on a fixed grid; adaptive needs torchdiffeq.
        steps: Of the fixed grid.
        tolerance: Of the adaptive solver, relative and absolute.
        adjoint: Whether the adaptive solver finds gradients by the adjoint equation: less memory,
            and gradients as exact as the tolerance.
        trace: exact or hutchinson.

    Shape: x, z ``(B, *event_shape)``; logdet ``(B,)``, nats.

    Raises:
        UsageError: If an option is out of range, or torchdiffeq is not installed.

    Source: Chen et al., Neural Ordinary Differential Equations, NeurIPS 2018,
        https://arxiv.org/abs/1806.07366; Grathwohl et al., FFJORD, ICLR 2019,
        https://arxiv.org/abs/1810.01367.

    Example:
        >>> layer = Continuous((2,), steps=4)
        >>> z, logdet = layer(torch.ones(3, 2))
        >>> z.shape, logdet.shape
        (torch.Size([3, 2]), torch.Size([3]))
    """

    iterative = frozenset({"forward", "inverse"})

    def __init__(
        self,
        event_shape: Shape,
        context_shape: Shape | None = None,
        *,
        net: NetworkFactory | None = None,
        solver: Solver = "rk4",
        steps: int = 16,
        tolerance: float = 1e-6,
        adjoint: bool = False,
        trace: Trace = "exact",
    ) -> None:
        super().__init__()
        _check(solver, steps, tolerance, trace)
        self.event_shape = tuple(event_shape)
        self.context_shape = None if context_shape is None else tuple(context_shape)
        self.solver, self.steps, self.tolerance = solver, steps, tolerance
        self.adjoint, self.trace = adjoint, trace
        self.logdet_kind = Likelihood.EXACT if trace == "exact" else Likelihood.UNBIASED
        self.rows_coupled = solver == "adaptive"  # all rows take the same steps
        inner = ConvNet if len(self.event_shape) == 3 else Mlp
        self.net = (net or partial(inner, activation="silu"))(
            in_shape=self.event_shape,
            out_shape=self.event_shape,
            context_shape=(_TIMES + math.prod(self.context_shape or (0,)),),
        )

    def _start_networks(self, given: Tensor, context: Tensor | None) -> None:
        self.net.initialize(given, self._given(given, given.new_zeros(()), context))

    def velocity(self, x: Tensor, time: Tensor, context: Tensor | None = None) -> Tensor:
        """f(x, t, c), for times ``(B,)`` or one for all rows ``()``."""
        return self.net(x, self._given(x, time, context))

    def _given(self, x: Tensor, time: Tensor, context: Tensor | None) -> Tensor:
        """The context of the network: the time, and what is given."""
        time = time.to(x).expand(len(x))[:, None] * math.pi
        given = torch.cat((time / math.pi, time.cos(), time.sin()), dim=1)
        if context is None:
            return given
        return torch.cat((given, context.flatten(1).to(x.dtype)), dim=1)

    def _forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(x, context, 0.0, 1.0)

    def _inverse(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return self._solve(z, context, 1.0, 0.0)

    def _solve(
        self, x: Tensor, context: Tensor | None, start: float, stop: float
    ) -> tuple[Tensor, Tensor]:
        dtype, wide = x.dtype, x.to(logdet_dtype(x))
        directions = probes(wide, self.trace)

        def field(time: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            def at(x: Tensor) -> Tensor:
                return self.velocity(x.to(dtype), time, context).to(wide.dtype)

            return with_trace(at, state[0], directions)

        state = (wide, wide.flatten(1).sum(1) * 0)
        if self.solver == "adaptive":
            given: list[Tensor] = [p for p in self.parameters() if p.requires_grad]
            given += [context] if context is not None and context.requires_grad else []
            y, logdet = integrate_adaptively(
                field,
                state,
                start=start,
                stop=stop,
                tolerance=self.tolerance,
                parameters=given if self.adjoint else None,
            )
        else:
            y, logdet = integrate(
                field, state, start=start, stop=stop, method=self.solver, steps=self.steps
            )
        return y.to(dtype), logdet


def _check(solver: str, steps: int, tolerance: float, trace: str) -> None:
    solvers = (*TABLEAUS, "adaptive")
    if solver not in solvers:
        raise UsageError(f"Continuous: solver must be one of {', '.join(solvers)}, got {solver!r}.")
    if trace not in ("exact", "hutchinson"):
        raise UsageError(f"Continuous: trace must be exact or hutchinson, got {trace!r}.")
    if steps < 1 or not tolerance > 0:
        raise UsageError(
            "Continuous: steps must be at least 1 and tolerance positive, got "
            f"{steps} and {tolerance}."
        )
