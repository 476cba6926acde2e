"""The promises of a Density; the suites of priors and of decoders hold them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.errors import CorekitError, NoDensity
from corekit.interfaces.density import Density
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Condition, LossTerms
from corekit.testing.case import ROWS, Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors, draws
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused
from corekit.testing.statistics import density_ratio, expect_mean, lies_on

MANY = 20_000
FEW = 4
"""Dimensions up to which a density can be integrated by sampling."""


class DensityExercise(Exercise):
    """The loss of x, and its log-density where there is one."""

    wide = frozenset({"log_prob", "loss"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x on the support, and every condition that it asks for."""
        part: Density = case.part
        conditions = {
            name: torch.randn(rows, *shape, dtype=dtype)
            for name, shape in part.condition_shapes.items()
        }
        kind = torch.int64 if part.support is Support.CODES else dtype
        x = case.draw(part.event_shape, part.support, kind, rows)
        return {"x": x, **conditions, "rows": torch.arange(rows)}

    def __call__(self, part: Density, inputs: Tensors) -> Tensors:
        """loss, log_prob."""
        condition = condition_of(part, inputs)
        outputs = {"loss": part.loss(inputs["x"], condition, draws(inputs)).total}
        if part.kind is not Likelihood.NONE:
            scored = part.log_prob(inputs["x"], condition, generator=draws(inputs))
            outputs["log_prob"] = scored.value
        return outputs


EXERCISE = DensityExercise()
SUITE = Suite()


def condition_of(part: Density, inputs: Tensors) -> Condition | None:
    """The conditions among the inputs."""
    if not part.condition_shapes:
        return None
    return Condition(**{name: inputs[name] for name in part.condition_shapes})


def has_density(case: Case) -> bool:
    """Whether it has a likelihood of any kind."""
    return case.part.kind is not Likelihood.NONE


def is_exact(case: Case) -> bool:
    """Whether its likelihood claims to be a number."""
    return case.part.kind is Likelihood.EXACT


def is_smooth(case: Case) -> bool:
    """Whether the Stein identities hold: an exact density over all real vectors."""
    return is_exact(case) and case.part.support is Support.REAL


def is_small(case: Case) -> bool:
    """Whether its density can be integrated by sampling."""
    return is_smooth(case) and math.prod(case.part.event_shape) <= FEW


def has_condition(case: Case) -> bool:
    """Whether it is conditional."""
    return bool(case.part.condition_shapes)


@SUITE.check()
def the_loss_has_terms_with_units(case: Case) -> None:
    """The loss has one number per row, and every term a unit; exact nats are -log p."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    condition = condition_of(part, inputs)
    terms = part.loss(inputs["x"], condition, draws(inputs))
    expect_terms(terms, ROWS)
    if part.kind is Likelihood.EXACT and set(terms.units.values()) == {"nats"}:
        log_p = part.log_prob(inputs["x"], condition, generator=draws(inputs)).value
        expect_close("the loss, in nats,", terms.total, -log_p, case.how.tolerance, of="-log p(x)")


@SUITE.check(has_density)
def log_prob_is_of_the_declared_kind(case: Case) -> None:
    """log_prob gives one number per row, of the kind that the density declares."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    got = part.log_prob(inputs["x"], condition_of(part, inputs), generator=draws(inputs))
    expect(
        got.kind is part.kind and tuple(got.value.shape) == (ROWS,),
        f"log_prob must be of kind '{part.kind.value}' and shape ({ROWS},), got "
        f"'{got.kind.value}' and {tuple(got.value.shape)}.",
    )


@SUITE.check(lambda case: not has_density(case))
def a_density_that_is_not_there_is_refused(case: Case) -> None:
    """Without a likelihood, log_prob raises NoDensity: no number is printed as one."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    try:
        part.log_prob(inputs["x"], condition_of(part, inputs), generator=draws(inputs))
    except NoDensity:
        return
    raise CheckFailed("log_prob must raise NoDensity where the kind is 'none', got a number.")


@SUITE.check(is_exact)
def an_exact_density_needs_no_draws(case: Case) -> None:
    """An exact log-density is the same whatever is drawn."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    condition = condition_of(part, inputs)
    first, second = (
        part.log_prob(inputs["x"], condition, generator=_generator(seed)).value for seed in (0, 1)
    )
    expect_equal(
        "an exact log_prob must not depend on what is drawn, but it does",
        first,
        second,
        "It is an estimate: declare kind = Likelihood.WEIGHT, UNBIASED or BOUND.",
    )


@SUITE.check(is_small)
def samples_follow_log_prob(case: Case) -> str:
    """Samples follow log_prob, constants included: E[u(x) / p(x)] = 1 for a density u."""
    part = case.ready()
    condition = _one_condition(case, MANY)
    x = part.sample(MANY, condition, generator=_generator())
    with torch.no_grad():
        log_p = part.log_prob(x, condition).value
    return expect_mean(
        "E[u(x) / p(x)] over samples",
        density_ratio(x.flatten(1), log_p),
        1.0,
        "Do samples follow another law than log_prob says, or is a constant missing?",
    )


@SUITE.check(is_smooth)
def samples_obey_the_stein_identities(case: Case) -> str:
    """E[d log p / dx_i] = 0 and E[x_i d log p / dx_i] = -1 over samples, in every coordinate."""
    part = case.ready()
    condition = _one_condition(case, MANY)
    x = part.sample(MANY, condition, generator=_generator()).requires_grad_()
    (score,) = torch.autograd.grad(part.log_prob(x, condition).value.sum(), x)
    x, score = x.detach().flatten(1), score.flatten(1)
    x = x - x.mean(0)
    detail = ""
    for i in range(min(x.shape[1], 16)):
        hint = "Samples and log_prob disagree, in location or in scale."
        expect_mean(f"E[d log p / dx] of coordinate {i}", score[:, i], 0.0, hint)
        what = f"E[x d log p / dx] of coordinate {i}"
        detail = expect_mean(what, x[:, i] * score[:, i], -1.0, hint)
    return detail


@SUITE.check()
def samples_are_as_declared(case: Case) -> None:
    """Samples have the event shape, the dtype of the weights, the support, and no gradient."""
    for dtype in (torch.float32, torch.float64):
        part = case.ready(dtype)
        x = part.sample(3, _one_condition(case, 3, dtype), generator=_generator())
        want = (3, *part.event_shape)
        expect(tuple(x.shape) == want, f"3 samples must have shape {want}, got {tuple(x.shape)}.")
        kind = torch.int64 if part.support is Support.CODES else dtype
        expect(x.dtype is kind, f"samples of a {dtype} model must be {kind}, got {x.dtype}.")
        expect(not x.requires_grad, "samples must have no gradient. Use torch.no_grad.")
        expect(bool(x.isfinite().all()), "samples must be finite.")
        expect(lies_on(x, part.support), f"samples must lie on '{part.support.value}'.")


@SUITE.check()
def a_generator_decides_the_samples(case: Case) -> None:
    """The same generator gives the same samples, another others; the global one is left alone."""
    part, condition = case.ready(), _one_condition(case, 3)
    state = torch.get_rng_state()
    first, again, other = (part.sample(3, condition, generator=_generator(s)) for s in (0, 0, 1))
    expect_equal("the same generator must give the same samples, but they differ", again, first)
    expect(not torch.equal(first, other), "another generator must give other samples.")
    expect(not torch.equal(first[0], first[1]), "two samples must differ, got the same twice.")
    expect_equal(
        "torch's global random state must be left alone, but it moved",
        torch.get_rng_state(),
        state,
        "Draw with draws.normal(name, shape, like).",
    )


@SUITE.check(lambda case: bool(case.part.free_axes))
def a_free_axis_may_have_any_length(case: Case) -> None:
    """Samples may be longer along a free axis than what it was built for."""
    part = case.ready()
    for axis in part.free_axes:
        shape = list(part.event_shape)
        shape[axis] += 3
        x = part.sample(2, _one_condition(case, 2), shape=tuple(shape), generator=_generator())
        want = (2, *shape)
        expect(tuple(x.shape) == want, f"samples must have shape {want}, got {tuple(x.shape)}.")


@SUITE.check(has_condition)
def the_condition_matters(case: Case) -> None:
    """Another condition gives another loss and other samples; none, or fewer rows, is refused."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    condition = condition_of(part, inputs)
    moved = condition_of(part, {**inputs, **{n: inputs[n] + 1 for n in part.condition_shapes}})
    first, second = (part.loss(inputs["x"], c, draws(inputs)).total for c in (condition, moved))
    expect(not torch.equal(first, second), "another condition must give another loss.")
    first, second = (part.sample(ROWS, c, generator=_generator()) for c in (condition, moved))
    expect(not torch.equal(first, second), "another condition must give other samples.")
    expect_refused("no condition", lambda: part.loss(inputs["x"], None, draws(inputs)))
    expect_refused("more samples than rows", lambda: part.sample(ROWS + 1, condition))


@SUITE.check()
def wrong_shapes_are_refused(case: Case) -> None:
    """A wrong shape of x, and of a sample that is asked for, is refused in words."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    condition, x = condition_of(part, inputs), inputs["x"]
    fixed = [i for i in range(len(part.event_shape)) if i not in part.free_axes]
    longer = torch.cat([x, x], dim=fixed[-1] + 1)
    shape = tuple(longer.shape[1:])
    expect_refused("a longer x", lambda: part.loss(longer, condition, draws(inputs)), CorekitError)
    expect_refused("x without a batch axis", lambda: part.loss(x[0], condition, draws(inputs)))
    expect_refused("a longer sample", lambda: part.sample(ROWS, condition, shape=shape))


def expect_terms(terms: LossTerms, rows: int) -> None:
    """Fail unless a loss has one number per row, and each of its terms a shape and a unit."""
    total = tuple(terms.total.shape)
    expect(total == (rows,), f"the total must have shape ({rows},), one per row, got {total}.")
    expect(bool(terms.total.isfinite().all()), "the total must be finite.")
    for name, value in terms.terms.items():
        shape = tuple(value.shape)
        expect(shape == (rows,), f"term {name} must have shape ({rows},), got {shape}.")
    for name, value in terms.batch_terms.items():
        expect(value.ndim == 0, f"batch term {name} must be a scalar, got {tuple(value.shape)}.")
    bare = [name for name in terms.terms if not terms.units.get(name)]
    expect(not bare, f"every term must have a unit, got none for {', '.join(bare)}.")
    for name, (t, loss) in terms.seen.items():
        expect(len(t) == len(loss) == rows, f"seen {name} must have {rows} rows.")
        expect(not loss.requires_grad, f"the losses of seen {name} must be detached.")


def _one_condition(case: Case, rows: int, dtype: torch.dtype = torch.float64) -> Condition | None:
    """The same condition in every row: samples under it are of one distribution."""
    shapes = case.part.condition_shapes
    if not shapes:
        return None
    generator = torch.Generator().manual_seed(5)
    values: dict[str, Tensor] = {
        name: torch.randn(1, *shape, generator=generator).to(dtype).expand(rows, *shape)
        for name, shape in shapes.items()
    }
    return Condition(**values)


def _generator(seed: int = 0) -> Any:
    return Draws(torch.Generator().manual_seed(seed))


SUITE.checks += module_checks(EXERCISE)
