"""Residual flows: the constraint, the estimates, and the inverse."""

from functools import partial

import pytest
import torch
from corekit_realnvp import lipschitz
from corekit_realnvp.lipschitz import LipschitzMlp, spectral_bound
from corekit_realnvp.residual import Residual

from corekit.errors import UsageError
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.flows.prior import FlowPrior
from corekit.interfaces.drawing import drawing
from corekit.interfaces.frozen import frozen
from corekit.interfaces.likelihood import Likelihood
from corekit.testing import Conformance, parametrize_checks

SMALL = {"type": "realnvp.residual", "hidden": (8,)}


@parametrize_checks("bijector", "realnvp.residual")
def test_promises(check):
    check()


@parametrize_checks(
    "prior",
    "flow",
    how=Conformance(
        options=({"bijector": {**SMALL, "logdet": "roulette"}},),
        given=({"event_shape": (3,), "condition": None},),
    ),
)
def test_promises_of_a_density_that_is_an_estimate(check):
    check()


def moved(scale, **options):
    """A layer of weights far beyond the constraint."""
    torch.manual_seed(0)
    layer = Residual((6,), hidden=(32, 24), **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(scale * torch.randn_like(parameter))
    return layer


def strong(**options):
    """A layer whose Jacobian is nearly kappa times a rotation by 90 degrees in two planes."""
    layer = Residual((4,), hidden=(4,), **options).double()
    turn = torch.tensor([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]])
    with torch.no_grad():
        first, last = layer.net.layers
        first.weight.copy_(50 * torch.eye(4))
        last.weight.copy_(50 * turn)
        first.bias.fill_(2.4 / torch.nn.functional.softplus(torch.tensor(0.5)))  # the steepest part
    return layer


@pytest.mark.parametrize("shape", [(7, 7), (30, 5), (5, 30), (1, 1), (128, 128)])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_bound_is_never_below_the_largest_singular_value_and_close_to_it(shape, scale):
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        weight = scale * torch.randn(shape, dtype=dtype)
        true = torch.linalg.matrix_norm(weight.double(), 2).item()
        rounding = 32 * torch.finfo(dtype).eps
        assert 1 - rounding <= spectral_bound(weight).item() / true <= 1.02
    many_equal = torch.eye(128, dtype=torch.float64)  # the worst case
    assert 1 <= spectral_bound(many_equal).item() <= 1.02


def test_a_weight_of_zeros_has_a_gradient_without_nan():
    weight = torch.zeros(4, 3, requires_grad=True)
    spectral_bound(weight).backward()
    assert weight.grad.isfinite().all()


@pytest.mark.parametrize("scale", [0.1, 3.0, 100.0])
@pytest.mark.parametrize("kappa", [0.5, 0.97])
def test_any_weights_move_the_output_less_than_the_input(scale, kappa):
    layer = moved(scale, lipschitz=kappa)
    g = layer.net(3 * torch.randn(200, 6, dtype=torch.float64), None)
    jacobian = g.push(torch.eye(6, dtype=torch.float64).expand(200, 6, 6))
    assert torch.linalg.matrix_norm(jacobian, 2).max() <= kappa


def test_the_constraint_is_used_up_and_kept():
    layer = strong(lipschitz=0.9)
    g = layer.net(torch.linspace(-0.2, 0.2, 4, dtype=torch.float64)[:, None].expand(4, 4), None)
    norm = torch.linalg.matrix_norm(g.push(torch.eye(4).double().expand(4, 4, 4)), 2)
    assert (norm <= 0.9).all()
    assert (norm > 0.85).all()


def test_small_weights_are_as_they_are():
    net = LipschitzMlp(3, 0, (4,), 0.9)
    with torch.no_grad():
        net.layers[0].weight.fill_(1e-3)
    assert torch.equal(net.weights(torch.float32)[0], net.layers[0].weight)


@pytest.mark.parametrize("terms", [1, 5])
def test_the_roulette_is_unbiased_where_the_series_is_long(terms):
    """Leaving out what is beyond the first term would be off by 1.2, beyond the fifth by 0.2."""
    x = torch.zeros(1, 4, dtype=torch.float64)
    (truth,) = strong(lipschitz=0.9)(x)[1]
    layer = strong(lipschitz=0.9, logdet="roulette", terms=terms)
    with torch.no_grad(), drawing(torch.Generator().manual_seed(0)):
        _, estimates = layer(x.expand(20_000, 4))
    error = estimates.std() / 20_000**0.5
    assert error < 0.03
    assert (estimates.mean() - truth).abs() < 4 * error


def test_probes_have_a_variance_of_one_and_no_mean():
    layer = strong(lipschitz=0.9, logdet="truncated", terms=1)
    with torch.no_grad():
        layer.net.layers[1].weight.fill_(1.0)  # J is far from diagonal: correlations would show
    x = torch.zeros(1, 4, dtype=torch.float64)
    g = layer.net(x, None)
    trace = g.push(torch.eye(4).double()[None])[0].trace()
    with torch.no_grad(), drawing(torch.Generator().manual_seed(0)):
        _, estimates = layer(x.expand(100_000, 4))
    assert (estimates.mean() - trace).abs() < 4 * estimates.std() / 100_000**0.5


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_the_inverse_holds_for_large_weights_near_the_edge(dtype, bound):
    layer = moved(100.0, lipschitz=0.97).to(dtype)
    x = 3 * torch.randn(50, 6, dtype=dtype)
    back, _ = layer.inverse(layer(x)[0])
    assert (back - x).abs().max() < bound


def test_the_whole_series_is_the_log_determinant():
    """With the unit vectors for probes the traces are exact, and the rest is at most D k^n."""
    layer = moved(1.0, lipschitz=0.7, logdet="truncated", terms=80)
    x = torch.randn(1, 6, dtype=torch.float64)
    g = layer.net(x.expand(6, 6), None)
    series = layer._series(g, torch.eye(6, dtype=torch.float64), None).sum()
    layer.how = "exact"
    torch.testing.assert_close(series, layer(x)[1][0], rtol=0, atol=6 * 0.7**80)


def test_further_terms_are_taken_as_often_as_their_weight_says():
    layer = Residual((2,), lipschitz=0.8, logdet="roulette")
    with drawing(torch.Generator().manual_seed(0)):
        further = layer._further(torch.zeros(100_000, 2))
    for k in range(1, 12):
        share = (further >= k).double().mean().item()
        assert abs(share - 0.8**k) < 4 * (0.8**k / 100_000) ** 0.5


@pytest.mark.parametrize(
    ("logdet", "kind"),
    [("exact", "exact"), ("roulette", "unbiased"), ("truncated", "none")],
)
def test_what_a_log_determinant_is_called(logdet, kind):
    assert FlowPrior((2,), bijector=partial(Residual, logdet=logdet)).kind is Likelihood(kind)


def test_the_draws_of_a_density_decide_its_estimates_and_the_global_generator_is_left_alone():
    layer = moved(1.0, logdet="roulette")
    prior, x = FlowPrior((6,), bijector=layer).double(), torch.randn(5, 6, dtype=torch.float64)
    state = torch.get_rng_state()
    first, again, other = (
        prior.log_prob(x, generator=torch.Generator().manual_seed(s)).value for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    prior.loss(x, draws=torch.Generator().manual_seed(0))
    prior.sample(3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.get_rng_state(), state)


def test_an_estimate_is_not_drawn_again_in_the_backward_pass():
    torch.manual_seed(0)
    chain = Chain((6,), of=[moved(1.0, logdet="roulette"), Linear]).double().train()
    x, grads = torch.randn(5, 6, dtype=torch.float64), []
    for recompute in (False, True):
        chain.recompute = recompute
        with drawing(torch.Generator().manual_seed(0)):
            loss = chain(x)[1].sum()
        grads.append(torch.autograd.grad(loss, list(chain.parameters()), allow_unused=True))
    for first, second in zip(*grads, strict=True):
        assert (first is None) == (second is None)
        assert first is None or torch.equal(first, second)


def test_a_new_layer_is_the_identity():
    x = torch.randn(3, 5)
    z, logdet = Residual((5,), (2,))(x, torch.randn(3, 2))
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(3))


def test_frozen_weights_are_constrained_once(monkeypatch):
    calls = []
    monkeypatch.setattr(lipschitz, "spectral_bound", lambda w: calls.append(1) or spectral_bound(w))
    layer = Residual((4,), hidden=(8,))
    with frozen(layer), torch.no_grad():
        for _ in range(3):
            layer.inverse(torch.randn(2, 4))
    assert len(calls) == len(layer.net.layers) == 2


def test_the_inverse_is_differentiated_once_only():
    layer = moved(1.0)
    z = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    with pytest.raises(UsageError, match="differentiated once only, got create_graph=True"):
        torch.autograd.grad(layer.inverse(z)[0].sum(), z, create_graph=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hidden": ()}, "hidden must have at least one layer, got none"),
        ({"lipschitz": 1.0}, "lipschitz must lie between 0 and 1, got 1.0"),
        ({"logdet": "hutchinson"}, "logdet must be one of exact, .*, got 'hutchinson'"),
        ({"terms": 0}, "terms must be at least 1, got 0"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        Residual((2,), **options)


def test_the_network_needs_no_context():
    net = LipschitzMlp(3, 0, (4,), 0.9)
    assert net(torch.randn(2, 3), None).value.shape == (2, 3)
