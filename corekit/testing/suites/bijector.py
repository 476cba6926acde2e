"""The promises of a Bijector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.errors import ShapeError
from corekit.interfaces.bijector import Bijector
from corekit.interfaces.drawing import drawing
from corekit.interfaces.initialization import sets_itself
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.testing.case import ROWS, Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors, draws
from corekit.testing.jacobian import autograd_logdet, opposite
from corekit.testing.likelihood import expect_kind
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused
from corekit.testing.starting import expect_networks_to_start

SIGN = "forward is data to latent and returns log|det dz/dx|; inverse returns log|det dx/dz|."


class BijectorExercise(Exercise):
    """Both directions, each on an input of its own."""

    wide = frozenset({"logdet", "inverse_logdet"})
    compiles = True

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x in the domain, z in the codomain, and the context if it takes one."""
        part: Bijector = case.part
        inputs = {"x": case.draw(part.event_shape, part.domain, dtype, rows)}
        if part.has_inverse:
            inputs["z"] = case.draw(part.latent_shape, part.codomain, dtype, rows)
        if part.context_shape is not None:
            inputs["context"] = torch.randn(rows, *part.context_shape, dtype=dtype)
        if part.logdet_kind is not Likelihood.EXACT:
            inputs["rows"] = torch.arange(rows)  # each has its own noise
        return inputs

    def compilable(self, part: Bijector, inputs: Tensors) -> Tensors:
        """Both directions, but for one that runs until it converges, or draws."""
        if "forward" in part.iterative or "rows" in inputs:
            return {}
        return {k: v for k, v in inputs.items() if k != "z" or "inverse" not in part.iterative}

    def __call__(self, part: Bijector, inputs: Tensors) -> Tensors:
        """z and logdet of x, and x_of_z with its log-determinant."""
        if "rows" not in inputs:
            return self._both(part, inputs)
        with drawing(draws(inputs)):
            return self._both(part, inputs)

    def _both(self, part: Bijector, inputs: Tensors) -> Tensors:
        z, logdet = part(inputs["x"], inputs.get("context"))
        outputs = {"z": z, "logdet": logdet}
        if "z" in inputs:
            x, inverse_logdet = part.inverse(inputs["z"], inputs.get("context"))
            outputs |= {"x_of_z": x, "inverse_logdet": inverse_logdet}
        return outputs


EXERCISE = BijectorExercise()
SUITE = Suite()


def has_inverse(case: Case) -> bool:
    """Whether there is an inverse to check."""
    return bool(case.part.has_inverse)


def has_context(case: Case) -> bool:
    """Whether it takes a context."""
    return case.part.context_shape is not None


def is_exact(case: Case) -> bool:
    """Whether its log-determinant claims to be a number, not an estimate."""
    return case.part.logdet_kind is Likelihood.EXACT


def is_estimate(case: Case) -> bool:
    """Whether its log-determinant claims to be an estimate of a known kind."""
    return not is_exact(case) and case.part.logdet_kind is not Likelihood.NONE


@SUITE.check()
def shapes_are_as_declared(case: Case) -> None:
    """z and x have ``latent_shape`` and ``event_shape``, and each row one log-determinant."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    want = {"z": part.latent_shape, "x_of_z": part.event_shape}
    for name, value in EXERCISE(part, inputs).items():
        shape = (ROWS, *want.get(name, ()))
        expect(
            tuple(value.shape) == shape, f"{name} must have shape {shape}, got {tuple(value.shape)}"
        )
    sizes = math.prod(part.event_shape), math.prod(part.latent_shape)
    expect(sizes[0] == sizes[1], f"x and z must hold as many numbers, got {sizes}.")


@SUITE.check(has_inverse)
def inverse_undoes_forward(case: Case) -> str:
    """f^-1(f(x)) = x in float64."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    z, _ = part(inputs["x"], inputs.get("context"))
    back, _ = part.inverse(z, inputs.get("context"))
    return expect_close("inverse(forward(x))", back, inputs["x"], case.how.tolerance, of="x")


@SUITE.check(has_inverse)
def forward_undoes_inverse(case: Case) -> str:
    """f(f^-1(z)) = z in float64, for latents that no data led to."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x, _ = part.inverse(inputs["z"], inputs.get("context"))
    again, _ = part(x, inputs.get("context"))
    return expect_close("forward(inverse(z))", again, inputs["z"], case.how.tolerance, of="z")


@SUITE.check(has_inverse)
def the_round_trip_holds_in_float32(case: Case) -> str:
    """f^-1(f(x)) = x in float32, and two exact log-determinants cancel."""
    part, inputs = case.ready(torch.float32), EXERCISE.inputs(case, torch.float32)
    z, logdet = part(inputs["x"], inputs.get("context"))
    back, inverse_logdet = part.inverse(z, inputs.get("context"))
    allowed = case.how.tolerance_float32
    if is_exact(case):
        what, of = "the inverse logdet", "minus the forward one"
        expect_close(what, inverse_logdet, -logdet, allowed, of=of)
    return expect_close("inverse(forward(x))", back, inputs["x"], allowed, of="x")


@SUITE.check(is_exact)
def logdet_equals_the_autograd_jacobian(case: Case) -> str:
    """log|det dz/dx| is that of the Jacobian that autograd finds, row by row."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    _, logdet = part(inputs["x"], inputs.get("context"))
    want = autograd_logdet(part, inputs)
    hint = SIGN if opposite(logdet, want) else "Is a factor missing, or a sum over an axis?"
    return expect_close(
        "logdet", logdet, want, case.how.tolerance, of="that of autograd's Jacobian", hint=hint
    )


@SUITE.check(is_estimate)
def the_estimated_logdet_is_of_its_kind(case: Case) -> str:
    """Many estimates of a log-determinant, averaged as their kind says, give the true one."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    want, detail = autograd_logdet(part, inputs), ""
    for row in range(ROWS):
        many = {k: v[row : row + 1].expand(4096, *v.shape[1:]) for k, v in inputs.items()}
        _, logdet = part(many["x"], many.get("context"))
        detail = expect_kind("logdet", LogProb(logdet, part.logdet_kind), want[row].item())
    return detail


@SUITE.check(lambda case: has_inverse(case) and is_exact(case))
def the_inverse_logdet_is_minus_the_forward_one(case: Case) -> str:
    """log|det dx/dz| at z = f(x) is minus log|det dz/dx| at x."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    z, logdet = part(inputs["x"], inputs.get("context"))
    _, inverse_logdet = part.inverse(z, inputs.get("context"))
    what, of = "the inverse logdet", "minus the forward one"
    return expect_close(what, inverse_logdet, -logdet, case.how.tolerance, of=of, hint=SIGN)


@SUITE.check()
def wrong_inputs_are_refused(case: Case) -> None:
    """A wrong shape, a missing, a superfluous or an ill-fitting context: ShapeError, in words."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x, context = inputs["x"], inputs.get("context")
    longer = torch.cat([x, x], dim=1)
    calls = {
        "a longer x": lambda: part(longer, context),
        "x without a batch axis": lambda: part(x[0], context),
    }
    if part.has_inverse:
        z = inputs["z"]
        calls["a longer z"] = lambda: part.inverse(torch.cat([z, z], dim=1), context)
    if context is None:
        calls["a context that it does not take"] = lambda: part(x, torch.zeros(len(x), 3).to(x))
    else:
        calls["no context"] = lambda: part(x, None)
        calls["a context of fewer rows"] = lambda: part(x, context[:-1])
        calls["a longer context"] = lambda: part(x, torch.cat([context, context], dim=1))
    for what, call in calls.items():
        expect_refused(what, call, ShapeError)


@SUITE.check(has_context)
def the_context_matters(case: Case) -> None:
    """Another context gives another result: it is not only accepted."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    first = EXERCISE(part, inputs)
    other = EXERCISE(part, {**inputs, "context": inputs["context"] + 1})
    expect(
        any(not torch.equal(first[name], other[name]) for name in first),
        "another context must give another z or logdet, got the same. If it takes none, "
        "leave context_shape at None.",
    )


@SUITE.check()
def it_is_initialised_from_data_once(case: Case) -> None:
    """``initialize`` returns what forward gives then; a second call changes no parameter."""
    part, inputs = case.fresh().to(torch.float64).eval(), EXERCISE.inputs(case, torch.float64, 16)
    x, context = inputs["x"], inputs.get("context")
    z = part.initialize(x, context)
    expect_close("initialize(x)", z, part(x, context)[0], case.how.tolerance, of="forward(x)")
    once = {name: value.clone() for name, value in part.state_dict().items()}
    second = case.draw(part.event_shape, part.domain, torch.float64, 16) * 0.5
    part.initialize(second, context)
    restored = case.fresh(seed=2).to(torch.float64)
    restored.load_state_dict(once)
    restored.train()(x, context)
    restored.initialize(second, context)
    for what, other in (("", part), (", restored from a state dict,", restored)):
        for name, value in other.state_dict().items():
            expect_equal(
                f"{name}{what} must be initialised once, but a second batch changed it",
                value,
                once[name],
                "Keep a buffer that says that it is done.",
            )


@SUITE.check()
def its_networks_start_from_data(case: Case) -> str:
    """``initialize``, and the same backwards, hand data on to every network inside."""
    part, inputs = case.fresh().to(torch.float64), EXERCISE.inputs(case, torch.float64, 16)
    context = inputs.get("context")
    if part.has_inverse and not any(sets_itself(inner) for inner in part.modules()):
        turned = case.fresh().to(torch.float64)
        expect_networks_to_start(turned, lambda: turned.initialize_inverse(inputs["z"], context))
    return expect_networks_to_start(part, lambda: part.initialize(inputs["x"], context))


def _at(case: Case) -> Bijector | None:
    """The bijector on one number or two, if it can be built there; without a context."""
    for shape in ((1,), (2,)):
        try:
            part: Bijector = case.ready(event_shape=shape, context_shape=None)
            part(torch.rand(2, *shape, dtype=torch.float64))
        except Exception:  # it does not take this shape: other checks say what is wrong with it
            continue
        return part
    return None


def _is_integrable(case: Case) -> bool:
    if not (case.first and is_exact(case) and case.part.context_shape is None):
        return False
    part = _at(case)
    grids = (Support.REAL, Support.UNIT_INTERVAL)
    return part is not None and part.domain in grids and part.codomain in grids


@SUITE.check(_is_integrable)
def the_density_integrates_to_one(case: Case) -> str:
    """p(x) = p_Z(f(x)) |det df/dx| has integral 1 over one or two dimensions: f is one to one."""
    part = _at(case)
    if part is None:
        raise CheckFailed("it can be built at neither (1,) nor (2,)")
    features = part.event_shape[0]
    low, high = _box(part)
    points = {1: 20_001, 2: 301}[features]
    axis = torch.linspace(0, 1, points, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(*[axis] * features, indexing="ij"), -1).reshape(-1, features)
    with torch.no_grad():
        z, logdet = part(low + grid * (high - low))
    density = (_base(part, z) + logdet).exp().reshape((points,) * features)
    for _ in range(features):
        density = torch.trapezoid(density, axis, dim=-1)
    integral = (density * (high - low).prod()).item()
    expect(
        abs(integral - 1) <= 0.01,
        f"the density of {features} feature(s) must integrate to 1, got {integral:.4f}. Is the map "
        "one to one, and onto?",
    )
    return f"integral {integral:.4f} over {features} feature(s)"


def _box(part: Bijector) -> tuple[Tensor, Tensor]:
    """Where nearly all of the mass is: around the images of 4096 latents."""
    if part.domain is Support.UNIT_INTERVAL:
        edge = torch.zeros(part.event_shape, dtype=torch.float64)
        return edge + 1e-12, edge + 1 - 1e-12
    if not part.has_inverse:
        edge = torch.full(part.event_shape, 12.0, dtype=torch.float64)
        return -edge, edge
    z = torch.randn(4096, *part.latent_shape, dtype=torch.float64)
    with torch.no_grad():
        x = part.inverse(z if part.codomain is Support.REAL else torch.sigmoid(z))[0]
    low, high = x.min(0).values, x.max(0).values
    margin = 0.3 * (high - low)
    return low - margin, high + margin


def _base(part: Bijector, z: Tensor) -> Tensor:
    """log p_Z: standard normal, or uniform on the unit interval."""
    if part.codomain is Support.UNIT_INTERVAL:
        inside = ((z >= 0) & (z <= 1)).flatten(1).all(1)
        return torch.where(inside, 0.0, -math.inf)
    return (-0.5 * z.square() - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


SUITE.checks += module_checks(EXERCISE)
