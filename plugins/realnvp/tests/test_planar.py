"""Planar flows against golden numbers, and their inverse where it is hardest."""

import pytest
import torch
from corekit_realnvp.planar import Planar, _equation

from corekit.interfaces.inversion import invert
from corekit.testing import parametrize_checks


@parametrize_checks("bijector", "realnvp.planar")
def test_promises(check):
    check()


def test_values_are_the_golden_ones(golden):
    arrays = golden("planar_radial")
    layer = Planar((4,)).double()
    with torch.no_grad():
        layer.params.copy_(torch.cat((arrays["w"], arrays["u"], arrays["b"].reshape(1))))
    z, logdet = layer(arrays["z"])
    torch.testing.assert_close(z, arrays["planar_y"], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(logdet, arrays["planar_logdet"], rtol=1e-10, atol=1e-12)
    x, _ = layer.inverse(arrays["planar_y"])
    torch.testing.assert_close(x, arrays["z"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("context_shape", [None, (3,)])
def test_a_new_layer_is_the_identity(context_shape):
    layer = Planar((5,), context_shape).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    context = None if context_shape is None else torch.randn(4, 3, dtype=torch.float64)
    z, logdet = layer(x, context)
    torch.testing.assert_close(z, x, rtol=0, atol=1e-6)  # log(e - 1) is kept in float32
    torch.testing.assert_close(logdet, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("slope", [1e-9, 1e-3, 0.5, 1.0, 30.0, 1e9])
def test_the_inverse_solves_its_equation_from_nearly_flat_to_very_steep_maps(slope):
    s = torch.cat([torch.zeros(1), torch.logspace(-9, 3, 500)]).double()
    s = torch.cat([-s, s])
    slope = torch.full_like(s, slope)
    c, _ = _equation(s, slope)
    reach = (slope - 1).abs()
    found = invert(_equation, c, (slope,), c - reach, c + reach)
    torch.testing.assert_close(_equation(found, slope)[0], c, rtol=1e-12, atol=1e-14)


def test_a_direction_of_zeros_gives_no_nan():
    layer = Planar((3,))
    with torch.no_grad():
        layer.params.zero_()
    z, logdet = layer(torch.randn(2, 3))
    (z.sum() + logdet.sum()).backward()
    assert z.isfinite().all()
    assert layer.params.grad.isfinite().all()
