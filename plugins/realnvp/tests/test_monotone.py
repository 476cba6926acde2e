"""Monotone networks: they increase whatever their parameters, and can be what is wanted."""

import math

import pytest
import torch
from corekit_realnvp.monotone import Monotone
from torch.distributions import Categorical, MixtureSameFamily, Normal

from corekit.errors import UsageError
from corekit.testing import parametrize_checks


@parametrize_checks("univariate", "realnvp.monotone")
def test_promises(check):
    check()


@pytest.mark.parametrize(("r", "b"), [(1.2, 1.2), (-1.2, -0.999 * 1.2 / 2.2)])
def test_one_unit_by_hand(r, b):
    """y = e^s (x + b/u tanh(u (x - c))) + t, with the unit's centre at 0 when it is alone."""
    s, t, log_u, c = 0.3, -0.7, 0.4, 0.5
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    params = torch.tensor([s, t, r, log_u, c], dtype=torch.float64)[None, :, None].expand(5, 5, 1)
    y, log_slope = Monotone(1).forward(x, params)
    scale, u = math.exp(3 * math.tanh(s / 3)), math.exp(3 * math.tanh(log_u / 3))
    want = scale * (x + b / u * torch.tanh(u * (x - c))) + t
    torch.testing.assert_close(y, want, rtol=1e-12, atol=1e-12)
    slope = scale * (1 + b / torch.cosh(u * (x - c)) ** 2)
    torch.testing.assert_close(log_slope, slope.log(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 3])
def test_parameters_of_zero_are_the_identity(layers):
    part = Monotone(5, layers)
    x = torch.linspace(-9, 9, 50)[None]
    z, log_slope = part.forward(x, torch.zeros(1, part.parameters, 50))
    torch.testing.assert_close(z, x, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(log_slope, torch.zeros(1, 50), rtol=0, atol=1e-6)


def test_the_slope_keeps_a_floor_for_the_worst_parameters():
    """All bumps as deep as may be, in one place: 0.001 of the slope is left, and it inverts."""
    part = Monotone(4)
    raw = torch.zeros(14, dtype=torch.float64)
    raw[2:6] = -1e9
    raw[10:] = -torch.tensor([-2.25, -0.75, 0.75, 2.25])  # where zeros put the four bumps
    x = torch.tensor([[-50.0, -1.0, 0.0, 1e-3, 2.0, 50.0]], dtype=torch.float64)
    params = raw[None, :, None].expand(1, 14, 6)
    z, log_slope = part.forward(x, params)
    assert abs(log_slope[0, 2].exp() - 1e-3) < 1e-9
    torch.testing.assert_close(part.inverse(z, params)[0], x, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("layers", [1, 3])
def test_the_bracket_holds_the_inverse(layers):
    torch.manual_seed(0)
    part = Monotone(6, layers)
    x = 5 * torch.randn(1, 200, dtype=torch.float64)
    params = 3 * torch.randn(1, part.parameters, 200, dtype=torch.float64)
    z, _ = part.forward(x, params)
    low, high = part._bracket(z, params)
    assert ((low <= x + 1e-9) & (x <= high + 1e-9)).all()


def test_it_learns_to_make_two_modes_normal():
    """The likelihood of a mixture comes within 0.01 nats of its entropy; a line is 0.6 away."""
    torch.manual_seed(0)
    truth = MixtureSameFamily(
        Categorical(torch.tensor([0.4, 0.6])),
        Normal(torch.tensor([-1.5, 1.0]), torch.tensor([0.3, 0.4])),
    )
    # A grid in place of samples: no noise, and no over-fitting.
    grid = torch.linspace(-4, 4, 801)[None]
    weights = truth.log_prob(grid).exp() * 0.01
    entropy = -(weights * truth.log_prob(grid)).sum()
    part = Monotone(8)
    raw = torch.zeros(1, part.parameters, 1, requires_grad=True)
    optimizer = torch.optim.Adam([raw], lr=0.1)
    for _ in range(600):
        z, log_slope = part.forward(grid, raw.expand(1, -1, 801))
        loss = -(weights * (Normal(0, 1).log_prob(z) + log_slope)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert -1e-3 < loss.item() - entropy.item() < 0.01


@pytest.mark.parametrize("options", [{"hidden": 0}, {"layers": 0}])
def test_bad_options_are_refused(options):
    with pytest.raises(UsageError, match="hidden and layers must be at least 1, got"):
        Monotone(**options)
