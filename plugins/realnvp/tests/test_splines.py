"""Splines: the defects of other libraries that ours must not have."""

import math

import pytest
import torch
from corekit_realnvp.splines import LinearSpline, RationalQuadratic

from corekit.errors import UsageError
from corekit.testing import parametrize_checks


@parametrize_checks("univariate", "realnvp.rational_quadratic")
def test_promises(check):
    check()


@parametrize_checks("univariate", "realnvp.linear_spline")
def test_promises_of_the_linear_one(check):
    check()


@parametrize_checks("bijector", "realnvp.rational_quadratic")
def test_promises_of_the_coupling(check):
    check()


def wild(spline, elements, std=5.0):
    torch.manual_seed(0)
    params = std * torch.randn(4, spline.parameters, elements)
    return 6 * torch.rand(4, elements) - 3, params


def test_the_inverse_never_fails_with_wild_parameters_in_single_precision():
    """nflows and normflows stop with an AssertionError here: their discriminant falls below 0."""
    spline = RationalQuadratic(8, bound=3.0)
    z, params = wild(spline, 20_000)
    x, log_slope = spline.inverse(z, params)
    assert bool(x.isfinite().all() & log_slope.isfinite().all())
    assert x.abs().max() <= 3


def test_gradients_outside_the_bins_are_those_of_the_identity():
    """flowjax and bayesflow had NaN here: a branch that is not taken must not be computed."""
    spline = RationalQuadratic(4, bound=3.0)
    x = torch.tensor([[-3.5, 3.0, 50.0, 1e6]], requires_grad=True)
    params = wild(spline, 4)[1][:1].requires_grad_()
    z, log_slope = spline.forward(x, params)
    assert torch.equal(z, x)
    assert torch.equal(log_slope[0, [0, 2, 3]], torch.zeros(3))
    by_x, by_params = torch.autograd.grad(z.sum() + log_slope.sum(), (x, params))
    assert torch.equal(by_x[0, [0, 2, 3]], torch.ones(3))
    assert bool(by_params[..., [0, 2, 3]].eq(0).all() & by_params.isfinite().all())


def test_a_batch_that_lies_in_the_tails_entirely_is_fine():
    """nflows fails where no element lies inside."""
    spline = RationalQuadratic(8)
    x = torch.full((3, 2), 100.0)
    z, log_slope = spline.forward(x, torch.randn(3, spline.parameters, 2))
    assert torch.equal(z, x)
    assert torch.equal(log_slope, torch.zeros_like(x))


@pytest.mark.parametrize("parameters", ["softplus", "softclip"])
def test_zero_parameters_are_the_identity(parameters):
    x = torch.linspace(-7, 7, 99, dtype=torch.float64)[None]
    spline = RationalQuadratic(5, parameters=parameters)
    z, log_slope = spline.forward(x, x.new_zeros(1, spline.parameters, 99))
    torch.testing.assert_close(z, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)


def test_slopes_have_a_floor():
    spline = RationalQuadratic(4, bound=3.0, min_slope=0.01, min_bin=0.02)
    x, params = wild(spline, 5000, std=20.0)
    _, log_slope = spline.forward(x, params)
    least = 0.01 * (0.02 / 0.94) ** 2  # of a parabola's ratio whose knots are at their floors
    assert log_slope.min() > math.log(least)


def test_a_circular_spline_is_smooth_across_its_seam():
    spline = RationalQuadratic(6, bound=math.pi, tails="circular")
    params = torch.randn(1, spline.parameters, 1, dtype=torch.float64).expand(-1, -1, 2)
    around = torch.tensor([[math.pi - 1e-9, math.pi + 1e-9]], dtype=torch.float64)
    z, log_slope = spline.forward(around, params)
    torch.testing.assert_close(z[0, 0], z[0, 1], rtol=0, atol=1e-7)
    torch.testing.assert_close(log_slope[0, 0], log_slope[0, 1], rtol=0, atol=1e-6)
    turned, _ = spline.forward(around + 4 * math.pi, params)
    torch.testing.assert_close(turned, z + 4 * math.pi, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bins": 0}, "bins must be at least 1, got 0"),
        ({"bins": 8, "min_bin": 0.125}, r"must be below 1, got 0\.125 x 8"),
        ({"bound": 0.0}, r"bound must be positive, got 0\.0"),
        ({"tails": "quadratic"}, "tails must be one of linear, circular, none, got 'quadratic'"),
        ({"min_slope": 1.0}, r"min_slope must lie between 0 and 1, got 1\.0"),
        ({"parameters": "exp"}, "parameters must be softplus or softclip, got 'exp'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        RationalQuadratic(**options)


def test_a_linear_spline_is_a_histogram():
    spline = LinearSpline(4, tails="none", min_bin=0.0)
    heights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    x = torch.tensor([[0.1, 0.3, 0.6, 0.9]], dtype=torch.float64)
    z, log_slope = spline.forward(x, heights.log()[None, :, None].expand(-1, -1, 4))
    torch.testing.assert_close(log_slope[0], (4 * heights).log())
    want = torch.tensor([[0.04, 0.14, 0.42, 0.84]], dtype=torch.float64)
    torch.testing.assert_close(z, want)
