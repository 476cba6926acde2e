"""Scales are bounded, by a function that is fast and as smooth as tanh."""

import pytest
import torch

from corekit.flows.affine import bounded


@pytest.mark.parametrize("bound", [0.3, 2.0, 7.0])
def test_bounded_is_a_scaled_tanh(bound):
    raw = torch.linspace(-60, 60, 2001, dtype=torch.float64, requires_grad=True)
    want = bound * torch.tanh(raw / bound)
    got = bounded(raw, bound)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-14 * bound)
    (slope,) = torch.autograd.grad(got.sum(), raw)
    (want_slope,) = torch.autograd.grad(want.sum(), raw)
    torch.testing.assert_close(slope, want_slope, rtol=0, atol=1e-14)


def test_zero_stays_zero_and_nothing_is_infinite():
    raw = torch.tensor([0.0, -1e30, 1e30, -200.0, 200.0], requires_grad=True)
    got = bounded(raw, 2.0)
    assert got.tolist() == [0.0, -2.0, 2.0, -2.0, 2.0]
    got.sum().backward()
    assert raw.grad.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert bounded(raw, None) is raw
