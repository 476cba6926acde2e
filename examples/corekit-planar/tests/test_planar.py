"""Planar keeps every promise of a bijector, and its inverse is exact where it is hardest."""

import pytest
import torch
from corekit_planar.planar import solve

from corekit.testing import parametrize_checks


@parametrize_checks("bijector", "planar.planar")
def test_planar(check):
    check()


@pytest.mark.parametrize("slope", [1e-9, 1e-3, 0.5, 1.0, 30.0, 1e9])
def test_the_inverse_solves_its_equation_from_nearly_flat_to_very_steep_maps(slope):
    s = torch.cat([torch.zeros(1), torch.logspace(-9, 3, 500)]).double()
    s, slope = torch.cat([-s, s]), torch.tensor(slope, dtype=torch.float64)
    c = s + (slope - 1) * torch.tanh(s)
    found = solve(c, slope)
    torch.testing.assert_close(found + (slope - 1) * torch.tanh(found), c, rtol=1e-12, atol=1e-14)
