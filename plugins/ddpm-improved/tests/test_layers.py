"""Layers that take another way on a CPU compute the same on both."""

import pytest
import torch
from corekit_ddpm_improved.layers import Pointwise, attention
from torch.nn.functional import conv2d, scaled_dot_product_attention


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
