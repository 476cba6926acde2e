"""The promises of a Stochastic map."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch import Tensor

from corekit.data_spec import DataSpec, Shape, Support
from corekit.errors import ShapeError
from corekit.interfaces.draws import Draws, NoNoise, Randomness
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.stochastic import Stochastic
from corekit.testing.case import ROWS, Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors, draws
from corekit.testing.likelihood import expect_kind
from corekit.testing.module import MANY, module_checks
from corekit.testing.plane import moments, normal_log_density, points_of_the_plane
from corekit.testing.refusal import expect_refused
from corekit.testing.starting import expect_networks_to_start
from corekit.testing.statistics import ERRORS

DRAWS = 4000
"""Draws for each value of x, where an average is compared with the truth."""

GRID = 120
"""Points on each axis of the unit square; a multiple of `LEVELS`."""

LEVELS = 3

INTEGRALS = 50
"""Draws of every point of the plane."""


class StochasticExercise(Exercise):
    """A draw of z, and the x of another z."""

    wide = frozenset({"z", "value"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x on its levels, z in the codomain, and the context if it takes one."""
        part: Stochastic = case.part
        inputs = {
            "x": quantised(case, part, dtype, rows),
            "z": case.draw(part.latent_shape, part.codomain, dtype, rows),
            "rows": torch.arange(rows),
        }
        if part.context_shape is not None:
            inputs["context"] = torch.randn(rows, *part.context_shape, dtype=dtype)
        return inputs

    def __call__(self, part: Stochastic, inputs: Tensors) -> Tensors:
        """z and value of x, and x_of_z; a z that is not drawn is called kept."""
        z, log_prob = part(inputs["x"], inputs.get("context"), draws(inputs))
        x_of_z = part.inverse(inputs["z"], inputs.get("context"), draws(inputs))
        name = "z" if part.draws_in == "forward" else "kept"
        return {name: z, "value": log_prob.value, "x_of_z": x_of_z}

    def differentiable(self, outputs: Tensors) -> Tensors:
        """Not x of z: rounding down has no slope."""
        return {name: value for name, value in outputs.items() if name != "x_of_z"}


EXERCISE = StochasticExercise()
SUITE = Suite()


def quantised(case: Case, part: Stochastic, dtype: torch.dtype, rows: int) -> Tensor:
    """Random levels of the data; values of the domain where these have none."""
    data: DataSpec | None = case.given.get("data")
    if data is None or data.levels is None:
        return case.draw(part.event_shape, part.domain, dtype, rows)
    levels = torch.randint(data.levels, (rows, *part.event_shape))
    return ((data.lowest or 0.0) + levels * (data.bin_width or 1.0)).to(dtype)


def has_context(case: Case) -> bool:
    """Whether it takes a context."""
    return case.part.context_shape is not None


def is_of_levels(case: Case) -> bool:
    """Whether its data have levels and its latent lies in a cube: all can be enumerated."""
    data = case.given.get("data")
    cube = case.part.codomain is Support.UNIT_INTERVAL
    return data is not None and data.levels is not None and cube


def is_of_reals(case: Case) -> bool:
    """Whether x and z are real numbers and the kind says what exponentials are on average."""
    part: Stochastic = case.part
    real = part.domain is Support.REAL and part.codomain is Support.REAL
    return real and not part.dequantizes and part.kind in (Likelihood.EXACT, Likelihood.WEIGHT)


class Edge(Draws):
    """The smallest and the largest numbers that a generator can give."""

    def __init__(self, *, upper: bool) -> None:
        super().__init__()
        self.upper = upper

    def uniform(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """0, or the largest number below 1."""
        one = torch.ones(shape, dtype=like.dtype, device=like.device)
        return torch.nextafter(one, 0 * one) if self.upper else 0 * one

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """Seven standard deviations."""
        sign = 1.0 if self.upper else -1.0
        return torch.full(shape, 7 * sign, dtype=like.dtype, device=like.device)


@SUITE.check()
def shapes_and_kind_are_as_declared(case: Case) -> None:
    """z has ``latent_shape`` and lies in the codomain; each row has a number of the kind."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    z, log_prob = part(inputs["x"], inputs.get("context"), draws(inputs))
    for name, got, want in (
        ("z", z, (ROWS, *part.latent_shape)),
        ("value", log_prob.value, (ROWS,)),
        ("x", EXERCISE(part, inputs)["x_of_z"], (ROWS, *part.event_shape)),
    ):
        expect(tuple(got.shape) == want, f"{name} must have shape {want}, got {tuple(got.shape)}.")
    expect(
        log_prob.kind is part.kind,
        f"the number must be of kind '{part.kind.value}', got '{log_prob.kind.value}'.",
    )
    inside = part.codomain is not Support.UNIT_INTERVAL or bool(((z >= 0) & (z <= 1)).all())
    expect(inside, f"z must lie in [0, 1], got {z.min():.4g} to {z.max():.4g}.")


@SUITE.check()
def it_starts_from_data(case: Case) -> str:
    """``initialize`` gives the z of all rows, and hands data on to every network inside."""
    part, inputs = case.fresh().to(torch.float64), EXERCISE.inputs(case, torch.float64, MANY + 1)
    x, context = inputs["x"], inputs.get("context")
    networks = expect_networks_to_start(part, lambda: part.initialize(x, context, NoNoise()))
    z = part.initialize(x, context, NoNoise())
    expect_close("initialize(x)", z, part(x, context, NoNoise())[0], 1e-9, of="forward(x)")
    return networks


@SUITE.check()
def what_is_drawn_leads_back(case: Case) -> None:
    """The way back from a draw gives, exactly, what it was drawn for, also at their ends."""
    for dtype in (torch.float32, torch.float64):
        part, inputs = case.ready(dtype), EXERCISE.inputs(case, dtype, MANY)
        context, forward = inputs.get("context"), part.draws_in == "forward"
        sources = {"": draws(inputs), ", lowest": Edge(upper=False), ", highest": Edge(upper=True)}
        for which, source in sources.items():
            given = inputs["x"] if forward else inputs["z"]
            drawn = _drawn(part, given, context, source)
            back = part.inverse(drawn, context) if forward else part(drawn, context)[0]
            expect_equal(
                f"{'inverse(forward(x))' if forward else 'forward(inverse(z))'} must be "
                f"{'x' if forward else 'z'} ({dtype}{which} draw), and differs",
                back.to(dtype),
                given,
                "Sums such as level + noise round up to the next level: move them back.",
            )


@SUITE.check()
def the_draws_alone_decide(case: Case) -> None:
    """One generator gives the same every time, another another; torch's own is left alone."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    name, what = ("x", "z") if part.draws_in == "forward" else ("z", "x")
    context, state = inputs.get("context"), torch.get_rng_state()
    one, same, other = (
        _drawn(part, inputs[name], context, torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    expect(torch.equal(one, same), f"the same generator must give the same {what}.")
    expect(not torch.equal(one, other), f"another generator must give another {what}.")
    left = "torch's global state must be left alone, but it moved"
    expect_equal(left, torch.get_rng_state(), state, "Draw from `draws`.")


@SUITE.check(is_of_levels)
def its_log_prob_is_of_its_kind(case: Case) -> str:
    """For a known density of z, averages over draws give the true probability of each x."""
    part, data = _of_two(case)
    expect(part.dequantizes, "dequantizes must be True for a map of levels to a cube, got False.")
    shape = data.event_shape
    middles = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    grid = torch.cartesian_prod(middles, middles).reshape(-1, *shape)
    context = _context(part, 1)
    mass = _density(grid).exp() / GRID**2
    where = part.inverse(grid, None if context is None else _repeat(context, len(grid)))
    detail = ""
    for levels in product(range(LEVELS), repeat=2):
        x = (data.lowest or 0.0) + (data.bin_width or 1.0) * torch.tensor(levels, dtype=mass.dtype)
        here = (where.flatten(1) - x).abs().amax(1) < (data.bin_width or 1.0) / 2
        truth = math.log(max(mass[here].sum().item(), 1e-300))
        many = x.reshape(1, *shape).expand(DRAWS, *shape)
        given = None if context is None else _repeat(context, DRAWS)
        z, found = part(many, given, torch.Generator().manual_seed(1))
        claimed = LogProb(_density(z) + found.value, found.kind)
        detail = expect_kind(f"log p(z) + value at levels {levels}", claimed, truth)
    return detail


@SUITE.check(is_of_reals)
def its_density_is_that_of_its_samples(case: Case) -> str:
    """For a known density of z, moments of samples of x agree with integrals of exp(value) p(z)."""
    part, data = _of_two(case)
    context = _context(part, 1)
    grid, area = points_of_the_plane()
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(INTEGRALS):
        given = None if context is None else _repeat(context, len(grid))
        z, value = part(grid.reshape(-1, *data.event_shape), given, generator)
        found.append((normal_log_density(z) + value.value).exp())
    integrals = area * torch.stack(found) @ moments(grid)
    spread = (found[0] - found[1]).abs().max().item()
    expect(
        part.kind is not Likelihood.EXACT or spread < 1e-9,
        f"log p(z) + value claims to be exact and must not depend on draws, but exp of it differs "
        f"by {spread:.3g}. If it is a weight, say so in its kind.",
    )
    z = 0.5 * torch.randn(DRAWS, *part.latent_shape, generator=generator, dtype=torch.float64)
    given = None if context is None else _repeat(context, DRAWS)
    drawn = moments(part.inverse(z, given, generator).flatten(1))
    want, got = drawn.mean(0), integrals.mean(0)
    error = (drawn.var(0) / len(drawn) + integrals.var(0) / len(integrals)).sqrt()
    worst = ((got - want).abs() / (ERRORS * error + 1e-3)).max().item()
    expect(
        worst <= 1,
        "the integrals of exp(log p(z) + value) times 1, x_1, x_2, x_1^2, x_1 x_2, x_2^2 must be "
        f"the means over samples, {_numbers(want)}, got {_numbers(got)} +- {_numbers(error)}.",
    )
    return f"at most {worst:.2g} of what chance explains"


@SUITE.check()
def wrong_inputs_are_refused(case: Case) -> None:
    """A wrong shape, a missing or a superfluous context: ShapeError."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x, z, context = inputs["x"], inputs["z"], inputs.get("context")
    expect_refused("a longer x", lambda: part(torch.cat((x, x), 1), context), ShapeError)
    expect_refused("a longer z", lambda: part.inverse(torch.cat((z, z), 1), context), ShapeError)
    other = torch.zeros(len(x), 3).to(x) if context is None else None
    what = "a context that it does not take" if context is None else "no context"
    expect_refused(what, lambda: part(x, other), ShapeError)


@SUITE.check(has_context)
def the_context_matters(case: Case) -> None:
    """Another context gives another z or another number."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    other = {**inputs, "context": inputs["context"] + 1}
    one, two = EXERCISE(part, inputs), EXERCISE(part, other)
    same = all(torch.equal(one[name], two[name]) for name in one)
    expect(not same, "another context must give another result, got the same.")


def _of_two(case: Case) -> tuple[Stochastic, DataSpec]:
    """The part for events of two numbers of three levels."""
    errors = []
    for shape in ((2,), (1, 1, 2), (2, 1, 1)):
        data = DataSpec(shape, levels=LEVELS, bin_width=0.5, lowest=-1.0)
        try:
            part: Stochastic = case.ready(data=data)
        except ShapeError as error:
            errors.append(str(error))
            continue
        return part, data
    raise CheckFailed(f"it must take an event of two numbers, got {'; '.join(errors)}")


def _drawn(part: Stochastic, given: Tensor, context: Tensor | None, source: Randomness) -> Tensor:
    """What the way that draws gives."""
    if part.draws_in == "forward":
        return part(given, context, source)[0]
    return part.inverse(given, context, source)


def _numbers(values: Tensor) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values.tolist()) + ")"


def _density(z: Tensor) -> Tensor:
    """A log-density on the unit square, another along each axis."""
    first, second = z.flatten(1).unbind(1)
    return torch.log1p(0.6 * (2 * first - 1)) + torch.log1p(-0.8 * (2 * second - 1))


def _context(part: Stochastic, rows: int) -> Tensor | None:
    if part.context_shape is None:
        return None
    return torch.randn(rows, *part.context_shape, dtype=torch.float64)


def _repeat(context: Tensor, rows: int) -> Tensor:
    return context.expand(rows, *context.shape[1:])


SUITE.checks += module_checks(EXERCISE)
