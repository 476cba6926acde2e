"""A Gaussian that a bijector bends: an IAF with its density in one pass."""

import math
from functools import partial

import pytest
import torch
from corekit_realnvp.autoregressive import Maf
from corekit_vae.posteriors.flow import FlowHead

from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Inverse
from corekit.flows.linear import Linear
from corekit.flows.pointwise import Sigmoid
from corekit.interfaces.draws import Draws


def maf(event_shape, context_shape=None):
    return Maf(event_shape, context_shape, hidden=(8,))


def moved(head):
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return head.double()


def seed(number=0):
    return Draws(torch.Generator().manual_seed(number))


def features(rows=6):
    return torch.randn(rows, 5, dtype=torch.float64)


def test_the_density_of_a_draw_is_that_by_the_inverse():
    q = moved(FlowHead((5,), (4,), bijector=maf, context=3))(features())
    z, log_q = q.rsample_and_log_prob(seed(), 3)
    again = q.repeated(3).log_prob(z).value
    torch.testing.assert_close(log_q.value, again, rtol=1e-10, atol=1e-10)


def test_a_draw_takes_one_pass_of_an_autoregressive_network(monkeypatch):
    head = moved(FlowHead((5,), (4,), bijector=maf))
    q, passes = head(features()), []
    head.bijector.net.register_forward_hook(lambda *call: passes.append(call))
    monkeypatch.setattr(Maf, "inverse", None)  # it would go element by element
    q.rsample_and_log_prob(seed(), 3)
    assert len(passes) == 1


def test_its_density_integrates_to_one():
    q = moved(FlowHead((5,), (1,), bijector=maf, context=2))(features(1))
    grid = torch.linspace(-40, 40, 8001, dtype=torch.float64)[:, None]
    density = q.repeated(len(grid)).log_prob(grid).value.exp()
    assert torch.trapezoid(density, grid[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_gradients_of_an_expectation_are_right():
    """Of a linear map z = W z_0 + b: E|z|^2 = |W mu + b|^2 + tr(W S W^T)."""
    head = moved(FlowHead((5,), (3,), bijector=Linear))
    row = features(1)
    many = row.expand(20_000, 5).clone().requires_grad_()
    z, _ = head(many).rsample_and_log_prob(seed())
    (found,) = torch.autograd.grad(z.square().sum(), many)
    one = row.clone().requires_grad_()
    q = head(one)
    matrix = torch.autograd.functional.jacobian(
        lambda v: head.bijector(v[None])[0][0], q.base.mu[0].detach()
    )
    mean = head.bijector(q.base.mu)[0][0]
    spread = (matrix.square() * q.base.log_var[0].exp()).sum()
    (want,) = torch.autograd.grad(mean.square().sum() + spread, one)
    error = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) - want[0]).abs() <= 3.5 * error).all()


def test_the_context_comes_from_the_features():
    head = moved(FlowHead((5,), (4,), bijector=maf, context=3))
    q = head(features())
    shifted = head(features())
    shifted.base = q.base
    z, other = (p.rsample_and_log_prob(seed())[0] for p in (q, shifted))
    assert not torch.equal(z, other)
    assert (head(features(1)).mode.shape, q.exact_mode) == ((1, 4), False)


def test_what_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="context must be 0 for a bijector that takes none, got 3"):
        FlowHead((5,), (4,), bijector=Linear, context=3)
    with pytest.raises(ShapeError, match="takes unit_interval"):
        FlowHead((5,), (4,), bijector=partial(Inverse, of=Sigmoid))
