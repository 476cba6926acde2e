"""Continuous flows against equations with known solutions, and flow matching likewise."""

import math
import sys
import types
from functools import partial

import pytest
import torch
from corekit_realnvp.continuous import Continuous
from torch.distributions import Normal

from corekit.data_spec import DataSpec
from corekit.errors import UsageError
from corekit.flows.linear import Linear
from corekit.flows.matching import matching_loss
from corekit.flows.model import FlowModel
from corekit.flows.prior import FlowPrior
from corekit.interfaces.drawing import drawing
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.network import Network
from corekit.interfaces.records import Batch, Condition
from corekit.nn.ode import TABLEAUS, integrate
from corekit.testing import Conformance, parametrize_checks

SMALL = {"type": "mlp", "hidden": (6,), "activation": "tanh"}


@parametrize_checks("bijector", "realnvp.continuous")
def test_promises(check):
    check()


MATCHED = {
    "bijector": {"type": "realnvp.continuous", "steps": 5, "net": SMALL},
    "train_by": "flow_matching",
}


@parametrize_checks(
    "prior",
    "flow",
    how=Conformance(
        options=(MATCHED,), given=({"event_shape": (2,), "condition": {"vector": (2,)}},)
    ),
)
def test_promises_of_a_density_trained_by_flow_matching(check):
    check()


class Field(Network):
    """A velocity that is written down: called with x, the time and the rest of the context."""

    def __init__(self, in_shape, out_shape, context_shape, *, of):
        super().__init__(in_shape, out_shape, context_shape)
        self.of = of

    def _forward(self, x, context):
        return self.of(x, context[:, 0], context[:, 3:])


def flow(of, shape=(3,), context_shape=None, **options):
    return Continuous(shape, context_shape, net=partial(Field, of=of), **options).double()


@pytest.mark.parametrize("solver", ["rk4", "dopri5"])
def test_a_linear_equation_is_the_matrix_exponential(solver):
    """dx/dt = A x: z = expm(A) x and log|det| = tr A."""
    torch.manual_seed(0)
    a = torch.randn(3, 3, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    layer = flow(lambda x, time, rest: x @ a.T, solver=solver, steps=64)
    z, logdet = layer(x)
    torch.testing.assert_close(z, x @ torch.matrix_exp(a).T, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet, a.trace().expand(5), rtol=1e-12, atol=1e-12)
    back, inverse_logdet = layer.inverse(z)
    torch.testing.assert_close(back, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(inverse_logdet, -logdet, rtol=1e-12, atol=1e-12)


def test_the_field_sees_the_time_and_the_context():
    """dx/dt = c t^2 x: z = x exp(c / 3); a time that runs the wrong way would give another z."""
    x, c = torch.randn(5, 3).double(), torch.randn(5, 1).double()
    layer = flow(lambda x, time, rest: rest * time[:, None] ** 2 * x, context_shape=(1,), steps=64)
    z, logdet = layer(x, c)
    torch.testing.assert_close(z, x * (c / 3).exp(), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(logdet, c[:, 0], rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(layer.inverse(z, c)[0], x, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", TABLEAUS)
def test_solvers_have_their_order(method):
    """The error of dx/dt = x cos t falls with the steps as their order says."""

    def error(steps):
        start = (torch.ones((), dtype=torch.float64),)
        (x,) = integrate(
            lambda time, state: (state[0] * time.cos(),),
            start,
            start=0.0,
            stop=1.0,
            method=method,
            steps=steps,
        )
        return abs(x.item() - math.exp(math.sin(1.0)))

    steps = 20 if method in ("euler", "midpoint") else 6
    order = math.log2(error(steps) / error(2 * steps))
    assert abs(order - TABLEAUS[method].order) < 0.35


def test_an_estimated_trace_is_called_unbiased_and_has_the_mean_of_the_exact_one():
    torch.manual_seed(0)
    a = torch.randn(4, 4, dtype=torch.float64)
    layer = flow(lambda x, time, rest: torch.tanh(x @ a.T), (4,), steps=4, trace="hutchinson")
    assert layer.logdet_kind is Likelihood.UNBIASED
    x = torch.randn(1, 4, dtype=torch.float64)
    with drawing(torch.Generator().manual_seed(0)):
        _, many = layer(x.expand(20_000, 4))
    layer.trace = "exact"
    error = many.std() / math.sqrt(20_000)
    assert (many.mean() - layer(x)[1][0]).abs() < 4 * error < 0.2


def test_images_get_convolutions_and_a_new_layer_is_the_identity():
    layer = Continuous((2, 4, 4), (3,), steps=2, trace="hutchinson")
    x = torch.randn(2, 2, 4, 4)
    z, logdet = layer(x, torch.randn(2, 3))
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(2))
    assert any(isinstance(part, torch.nn.Conv2d) for part in layer.modules())


def gaussian_field(mean, sd):
    """The mean velocity of straight lines from N(mean, sd^2) at 0 to N(0, 1) at 1."""

    def of(x, time, rest):
        t = time[:, None]
        variance = ((1 - t) * sd) ** 2 + t**2
        return (t - (1 - t) * sd**2) / variance * (x - (1 - t) * mean) - mean

    return of


def test_the_field_of_straight_lines_carries_a_gaussian_to_the_base():
    layer = flow(gaussian_field(0.7, 0.4), (2,), steps=64)
    prior = FlowPrior((2,), bijector=layer, train_by="flow_matching").double()
    x = 0.7 + 0.4 * torch.randn(20, 2, dtype=torch.float64)
    want = Normal(0.7, 0.4).log_prob(x).sum(1)
    torch.testing.assert_close(prior.log_prob(x).value, want, rtol=0, atol=1e-5)
    samples = prior.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert (samples.mean(0) - 0.7).abs().max() < 4 * 0.4 / math.sqrt(20_000)
    assert (samples.std(0) - 0.4).abs().max() < 4 * 0.4 / math.sqrt(40_000)


def test_flow_matching_is_least_at_the_field_of_straight_lines():
    """There the loss has no slope, in any of four directions, and its value is known."""
    mean, sd, n = 0.7, 0.4, 100_000
    theta = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    best = gaussian_field(mean, sd)

    def of(x, time, rest):
        t = time[:, None]
        return best(x, time, rest) + theta[0] + theta[1] * x + theta[2] * t + theta[3] * t * x

    generator = torch.Generator().manual_seed(0)
    x = mean + sd * torch.randn(n, 1, generator=generator, dtype=torch.float64)
    z = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    terms = matching_loss(flow(of, (1,)), x, z, None, Draws(generator))
    (slope,) = torch.autograd.grad(terms.total.mean(), theta)
    assert (slope.abs() < 5 * 2 * 1.5 / math.sqrt(n)).all()
    t = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    least = torch.trapezoid(sd**2 / (((1 - t) * sd) ** 2 + t**2), t)  # the variance that is left
    assert abs(terms.total.mean() - least) < 5 * terms.total.std() / math.sqrt(n)


def test_a_flow_model_trained_by_flow_matching_has_a_likelihood_and_gradients():
    data = DataSpec((2,), condition_shapes={"vector": (3,)})
    model = FlowModel(data, bijector=partial(Continuous, steps=2), train_by="flow_matching")
    batch = Batch(torch.randn(4, 2), Condition(torch.randn(4, 3)))
    terms = model(batch, draws=torch.Generator().manual_seed(0))
    assert terms.units == {"velocity": "squared units of data"}
    terms.total.mean().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.log_prob(batch.x, batch.condition).kind is Likelihood.EXACT


def test_flow_matching_needs_a_velocity():
    with pytest.raises(UsageError, match=r"bijector with a velocity .* got Linear"):
        FlowPrior((2,), bijector=Linear, train_by="flow_matching")


def test_the_adaptive_solver_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(UsageError, match=r"pip install corekit-realnvp\[ode\]"):
        Continuous((2,), solver="adaptive")(torch.zeros(1, 2))


@pytest.mark.parametrize("adjoint", [False, True])
def test_the_adaptive_solver_is_called_as_torchdiffeq_is_written(monkeypatch, adjoint):
    """A stand-in with torchdiffeq's signatures: both directions, the tolerance, the parameters."""
    calls = []

    def odeint(field, state, times, *, rtol, atol, method):
        calls.append((rtol, atol, method))
        start, stop = times.tolist()
        end = integrate(field, state, start=start, stop=stop, method="rk4", steps=16)
        return tuple(torch.stack(pair) for pair in zip(state, end, strict=True))

    def odeint_adjoint(field, state, times, *, adjoint_params, **options):
        calls.append(len(adjoint_params))
        return odeint(field, state, times, **options)

    module = types.SimpleNamespace(odeint=odeint, odeint_adjoint=odeint_adjoint)
    monkeypatch.setitem(sys.modules, "torchdiffeq", module)
    torch.manual_seed(0)
    layer = Continuous((2,), (1,), solver="adaptive", tolerance=1e-5, adjoint=adjoint).double()
    assert layer.rows_coupled
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    x, c = torch.randn(3, 2).double(), torch.randn(3, 1).double().requires_grad_()
    z, logdet = layer(x, c)
    layer.solver = "rk4"
    want = layer(x, c)
    torch.testing.assert_close((z, logdet), (want[0], want[1]))
    assert (1e-5, 1e-5, "dopri5") in calls
    assert (len(list(layer.parameters())) + 1 in calls) is adjoint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"solver": "heun"}, "solver must be one of euler, .*adaptive, got 'heun'"),
        ({"trace": "none"}, "trace must be exact or hutchinson, got 'none'"),
        ({"steps": 0}, "steps must be at least 1 .* got 0"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Continuous((2,), **options)
