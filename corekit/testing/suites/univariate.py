"""The promises of a Univariate: those of the elementwise bijector made of it, and its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.errors import ShapeError
from corekit.flows.elementwise import Elementwise
from corekit.interfaces.bijector import logdet_dtype
from corekit.interfaces.univariate import Univariate
from corekit.testing.case import Case, on_support
from corekit.testing.check import Check, Suite, expect
from corekit.testing.refusal import expect_refused
from corekit.testing.suites.bijector import SUITE as BIJECTOR

FEATURES = 5
FAR = 1e4
"""A number that no data has and some batch will: the map must survive it."""

SUITE = Suite()


def _elementwise(make: Callable[[], Univariate], **given: Any) -> Elementwise:
    return Elementwise(**given, univariate=make())


def _lifted(check: Check) -> Check:
    """A check of a bijector, made of the elementwise one of a univariate with random parameters."""

    def lift(case: Case) -> Case:
        given = {"event_shape": (FEATURES,), "context_shape": None}
        factory = partial(_elementwise, case.factory)
        return replace(case, kind="bijector", factory=factory, given=given)

    return replace(
        check,
        run=lambda case: check.run(lift(case)),
        applies=lambda case: check.applies(lift(case)),
    )


def _params(univariate: Univariate, x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shape = (x.shape[0], univariate.parameters, *x.shape[1:])
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(x.dtype)


@SUITE.check()
def it_increases(case: Case) -> None:
    """Where x is greater z is greater, for random parameters, also far out."""
    part: Univariate = case.part
    spread = torch.linspace(-1, 1, 401, dtype=torch.float64)
    grid = on_support((torch.sinh(5 * spread) / 8)[:, None], part.domain)[:, 0]
    x = grid.expand(16, -1).clone()
    params = _params(part, x[:, :1]).expand(-1, -1, x.shape[1])
    with torch.no_grad():
        z, _ = part.forward(x, params)
    expect(
        bool((z.diff(dim=1) >= 0).all()),
        "z must not fall where x rises. A slope must be positive whatever the parameters.",
    )


@SUITE.check(lambda case: case.part.domain is Support.REAL)
def far_numbers_have_finite_gradients(case: Case) -> None:
    """At x = 10,000, in float32, z, the log-slope and all gradients are finite."""
    part: Univariate = case.part
    x = torch.tensor([[-FAR, FAR, 0.0]]).requires_grad_()
    params = _params(part, x.detach()).requires_grad_()
    z, log_slope = part.forward(x, params)
    grads = torch.autograd.grad(log_slope.sum() + z.sum() / FAR, (x, params), allow_unused=True)
    for what, value in (("z", z), ("the log-slope", log_slope), *zip(_LEAVES, grads, strict=True)):
        expect(
            value is None or bool(value.isfinite().all()),
            f"{what} must be finite at x = {FAR:.0f}. Clamp before computing, not after: "
            "torch.where passes on the NaN of the branch that it does not take.",
        )


_LEAVES = ("the gradient of x", "the gradient of the parameters")


@SUITE.check()
def log_slopes_are_wide(case: Case) -> None:
    """z has the dtype of x, and its log-slope float32 or wider, in both directions."""
    part: Univariate = case.part
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        x = on_support(torch.zeros(2, 3, dtype=dtype), part.domain)
        z, log_slope = part.forward(x, _params(part, x))
        outputs = (z, log_slope, *part.inverse(z, _params(part, x)))
        got = tuple(value.dtype for value in outputs)
        want = (dtype, logdet_dtype(x)) * 2
        expect(
            got == want,
            f"z, log-slope, x, log-slope must be {want} for x of {dtype}, got {got}. Widen first: "
            "params.to(logdet_dtype(x)).",
        )


@SUITE.check()
def every_parameter_counts(case: Case) -> None:
    """Each of the P parameters changes z or the log-slope somewhere."""
    part: Univariate = case.part
    x = on_support(torch.linspace(-4, 4, 401, dtype=torch.float64)[None], part.domain)
    params = _params(part, x[:, :1]).expand(-1, -1, x.shape[1]).clone().requires_grad_()
    z, log_slope = part.forward(x, params)
    (grad,) = torch.autograd.grad((z * x + log_slope).sum(), params)
    dead = (grad.abs().amax((0, 2)) == 0).nonzero().flatten().tolist()
    expect(
        not dead,
        f"each of the {part.parameters} parameters must count, got no gradient of number "
        f"{', '.join(map(str, dead))}. A network would compute it for nothing.",
    )


@SUITE.check()
def parameters_that_do_not_fit_are_refused(case: Case) -> None:
    """Too few parameters, or those of other elements: ShapeError."""
    part: Univariate = case.part
    x = on_support(torch.zeros(2, 3), part.domain)
    params = _params(part, x)
    calls = {
        "one parameter more": torch.cat((params, params[:, :1]), dim=1),
        "parameters behind the event": params.movedim(1, -1),
        "parameters of one element": params[..., :1],
    }
    for what, wrong in calls.items():
        if wrong.shape != params.shape:
            expect_refused(what, partial(part.forward, x, wrong), ShapeError)
            expect_refused(what, partial(part.inverse, x, wrong), ShapeError)


SUITE.checks += [_lifted(check) for check in BIJECTOR if check.name != "wrong_inputs_are_refused"]
