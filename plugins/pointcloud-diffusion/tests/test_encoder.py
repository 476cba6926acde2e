"""PointNetEncoder: order-free, any number of points, and honest about batches of one."""

import pytest
import torch
from corekit_pointcloud_diffusion.encoder import PointNetEncoder

from corekit.errors import ShapeError, UsageError
from corekit.interfaces.likelihood import Likelihood
from corekit.latent.posteriors import DiagonalGaussian, Point


def small(**options):
    torch.manual_seed(0)
    return PointNetEncoder((8, 3), latent_dim=5, widths=(6, 7), head=(4,), **options).double()


def test_order_and_number_of_points_are_free():
    encoder = small().eval()
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    torch.testing.assert_close(encoder(x).mu, encoder(x[:, torch.randperm(9)]).mu)
    torch.testing.assert_close(encoder(torch.cat([x, x[:, :2]], 1)).mu, encoder(x).mu)
    assert encoder(x[:, :1]).log_var.shape == (2, 5)


def test_posteriors():
    x = torch.randn(2, 8, 3, dtype=torch.float64)
    gaussian, point = small(), small(posterior="point")
    assert isinstance(gaussian(x), DiagonalGaussian)
    assert isinstance(point(x), Point)
    assert (gaussian.kind, point.kind) == (Likelihood.EXACT, Likelihood.NONE)
    assert not [n for n, _ in point.named_parameters() if "log_var" in n]
    point(x).mode.square().sum().backward()
    # A bias before a batch norm has no influence: its gradient is zero, not missing.
    assert all(p.grad is not None for p in point.parameters())


def test_a_training_batch_of_one_is_refused_with_what_to_do():
    x = torch.randn(1, 8, 3, dtype=torch.float64)
    with pytest.raises(ShapeError, match=r"at least 2 rows.*got 1. Use a larger batch_size"):
        small().train()(x)
    assert small().eval()(x).mu.shape == (1, 5)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"got \(3,\)"):
        PointNetEncoder((3,))
    with pytest.raises(UsageError, match="got 'laplace'"):
        small(posterior="laplace")
    with pytest.raises(ShapeError, match=r"x must have shape \(batch, any, 3\), got \(2, 8, 4\)"):
        small()(torch.zeros(2, 8, 4))
