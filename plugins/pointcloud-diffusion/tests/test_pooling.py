"""The fused pooling equals the layers that it replaces."""

import pytest
import torch
from corekit_pointcloud_diffusion.pooling import max_of_norm
from torch import nn


@pytest.fixture
def layers():
    torch.manual_seed(0)
    linear, norm = nn.Linear(5, 7).double(), nn.BatchNorm1d(7).double()
    nn.init.normal_(norm.bias)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-2.0, -1.0, -0.5, 0.1, 0.5, 1.0, 2.0]))
    return linear, norm


def test_value_gradients_and_running_statistics_equal_the_plain_layers(layers):
    linear, norm = layers
    h = torch.randn(3, 11, 5, dtype=torch.float64, requires_grad=True)
    direction = torch.randn(3, 7, dtype=torch.float64)
    variables = [h, linear.weight, norm.weight, norm.bias]
    results = []
    for fused in (False, True):
        norm.reset_running_stats()
        if fused:
            out = max_of_norm(h, linear, norm)
        else:
            out = norm(linear(h.reshape(33, 5))).reshape(3, 11, 7).max(1).values
        gradients = torch.autograd.grad((out.sin() * direction).sum(), variables)
        results.append((out, *gradients, norm.running_mean.clone(), norm.running_var.clone()))
        assert norm.num_batches_tracked == 1
    for plain, fused in zip(*results, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-10, atol=1e-12)


def test_a_bias_before_batch_norm_gets_no_gradient(layers):
    linear, norm = layers
    h = torch.randn(3, 11, 5, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(max_of_norm(h, linear, norm).sin().sum(), [linear.bias])
    torch.testing.assert_close(gradient, torch.zeros(7, dtype=torch.float64), rtol=0, atol=1e-14)
