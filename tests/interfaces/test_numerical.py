"""Bijectors of which only one direction, or only the value, is written."""

import pytest
import torch
from torch import nn

from corekit.errors import UsageError
from corekit.flows.compose import Chain
from corekit.flows.linear import Linear
from corekit.interfaces.numerical import Contractive, Mapped


class Wave(Contractive):
    def __init__(self, event_shape, context_shape=None, *, bound=0.9):
        super().__init__()
        self.event_shape, self.bound = tuple(event_shape), bound
        self.phase = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def _forward(self, x, context):
        z = x + self.bound * torch.sin(x + self.phase)
        return z, torch.log(1 + self.bound * torch.cos(x + self.phase)).flatten(1).sum(1)


class Cubic(Mapped):
    """x + x^3 / 3, then a shear: Newton's steps must be halved far out."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.shear = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))

    def _map(self, x, context):
        y = x + x**3 / 3
        return y + self.shear * y.cumsum(1)


class Steep(Mapped):
    """A tanh beside a small slope: plain Newton steps swing between far points for ever."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = tuple(event_shape)

    def _map(self, x, context):
        return 0.01 * x + 5 * torch.tanh(x)


@pytest.mark.parametrize("make", [Wave, Cubic, Steep])
def test_the_inverse_is_exact_and_has_implicit_gradients(make):
    layer = make((3,))
    z = torch.tensor([[-5.0, 0.2, 8.0], [4.0, -0.995, 0.0]], dtype=torch.float64)
    x, logdet = layer.inverse(z.requires_grad_())
    torch.testing.assert_close(layer(x)[0], z, rtol=0, atol=1e-12)
    torch.testing.assert_close(logdet, -layer(x)[1], rtol=0, atol=1e-12)
    weights = torch.randn_like(x)
    got = torch.autograd.grad((x * weights).sum(), [z, *layer.parameters()])
    for row in range(len(z)):
        jacobian = torch.autograd.functional.jacobian(
            lambda r: layer(r[None])[0][0], x[row].detach()
        )
        want = torch.linalg.solve(jacobian.T, weights[row])
        torch.testing.assert_close(got[0][row], want, rtol=1e-9, atol=1e-9)
    for parameter, grad in zip(layer.parameters(), got[1:], strict=True):
        step, sides = 1e-6, []
        with torch.no_grad():
            for sign in (1, -1):
                parameter.add_(sign * step)
                sides.append((layer.inverse(z)[0] * weights).sum())
                parameter.sub_(sign * step)
        torch.testing.assert_close(grad, (sides[0] - sides[1]) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_in_a_chain_gradients_reach_the_members_beyond(seed):
    """Whatever the numbers: with rounding, an iteration may tremble instead of coming to rest."""
    torch.manual_seed(seed)
    chain = Chain((3,), of=[Linear, Wave, Linear]).double()
    x, logdet = chain.inverse(torch.randn(4, 3, dtype=torch.float64))
    (x.sum() + logdet.sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in chain.parameters())


def test_no_gradients_are_made_where_none_are_wanted():
    with torch.no_grad():
        x, _ = Wave((2,)).inverse(torch.randn(3, 2, dtype=torch.float64))
    assert not x.requires_grad


def test_a_map_that_is_no_contraction_is_refused_in_words():
    with pytest.raises(UsageError, match=r"does not come to rest in 5000 steps\. Bound its"):
        Wave((2,), bound=4.0).inverse(torch.randn(3, 2, dtype=torch.float64))


def test_a_wrong_determinant_cannot_be_written():
    """`_map` is all there is: the log-determinant is that of the Jacobian."""
    layer, x = Cubic((4,)), torch.randn(5, 4, dtype=torch.float64)
    log_slopes = torch.log(1 + x.square()).sum(1)
    shear = torch.log1p(layer.shear) * 4
    torch.testing.assert_close(layer(x)[1], log_slopes + shear)
    (grad,) = torch.autograd.grad(layer(x)[1].sum(), layer.shear)
    torch.testing.assert_close(grad, 5 * 4 / (1 + layer.shear))
