"""Layers that take another way on a CPU compute the same on both."""

import pytest
import torch
from corekit_ddpm_improved.layers import GroupNorm, Pointwise, attention
from torch.nn.functional import conv2d, group_norm, scaled_dot_product_attention


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (2, 4, 1, 1)])
def test_a_convolution_of_width_one_is_one_in_every_layout(layout, shape):
    layer = Pointwise(4, 7).double()
    x = torch.randn(shape, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    found, wanted = layer(x), conv2d(x, layer.weight, layer.bias)
    torch.testing.assert_close(found, wanted)
    what = (x, layer.weight, layer.bias)
    up = torch.randn_like(wanted)
    for ours, theirs in zip(
        torch.autograd.grad(found, what, up), torch.autograd.grad(wanted, what, up), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert set(layer.state_dict()) == {"weight", "bias"}
    assert layer.weight.shape == (7, 4, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("training", [False, True])
def test_attention_is_its_formula_in_every_precision(dtype, training):
    q, k, v = (torch.randn(2, 3, n, 8, dtype=torch.float64) for n in (5, 6, 6))
    wide = [t.to(dtype).double().requires_grad_() for t in (q, k, v)]
    narrow = [t.to(dtype).requires_grad_(training) for t in (q, k, v)]
    wanted, found = scaled_dot_product_attention(*wide), attention(*narrow)
    assert found.dtype is dtype
    slack = {torch.bfloat16: 0.02, torch.float32: 1e-5}.get(dtype, 1e-12)
    torch.testing.assert_close(found.double(), wanted, atol=slack, rtol=slack)
    if training:
        ours, theirs = (
            torch.autograd.grad(y.square().sum(), x) for y, x in ((found, narrow), (wanted, wide))
        )
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a.double(), b, atol=4 * slack, rtol=4 * slack)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "every other", "signals"])
def test_a_steered_norm_is_scaled_and_shifted_after_it(dtype, layout):
    """In every layout; in half precision by sums in float32, of numbers far from zero."""
    norm = GroupNorm(6).double()
    assert norm.num_groups == 6
    norm.num_groups = 3
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = (3 + torch.randn(2, 6, 4, 10, dtype=torch.float64)).to(dtype)
    x = {
        "contiguous": x,
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "every other": x[..., ::2],
        "signals": x[:, :, 0].contiguous(),
    }[layout].requires_grad_()
    steer = torch.randn(2, 12, dtype=torch.float64).to(dtype).requires_grad_()
    scale, shift = steer.double().reshape(2, 2, 6, *(1,) * (x.ndim - 2)).unbind(1)
    wanted = (1 + scale) * group_norm(x.double(), 3, norm.weight, norm.bias) + shift
    what = (x, steer, norm.weight, norm.bias)
    up = torch.randn_like(wanted)
    theirs = torch.autograd.grad(wanted, what, up)
    found = norm(x, steer)
    assert found.dtype is dtype
    ours = torch.autograd.grad(found, what, up.to(dtype))
    slack = {torch.bfloat16: 0.02, torch.float32: 1e-5}.get(dtype, 1e-12)
    for a, b in zip((found, *ours), (wanted, *theirs), strict=True):
        assert (a.double() - b).norm() <= slack * b.double().norm()


def test_a_steered_norm_takes_no_samples():
    assert GroupNorm(6)(torch.zeros(0, 6, 4, 5), torch.zeros(0, 12)).shape == (0, 6, 4, 5)
