"""The Chamfer distance with gradients equals the exact one, and never holds all pairs of points."""

import numpy as np
import pytest
import torch

from corekit.errors import ShapeError, UsageError
from corekit.metrics.distances import paired_chamfer
from corekit.metrics.torch_chamfer import chamfer_loss, nearest_points


@pytest.fixture
def clouds():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(3, n, 3, generator=generator, dtype=torch.float64) for n in (50, 37))
    return x, y


@pytest.mark.parametrize("chunk", [1, 7, 50, 512])
def test_it_equals_the_exact_one_for_unequal_sizes(clouds, chunk):
    x, y = clouds
    np.testing.assert_allclose(chamfer_loss(x, y, chunk=chunk), paired_chamfer(x, y), rtol=1e-12)


def test_float32_keeps_its_digits_far_from_the_origin(clouds):
    x, y = ((c + 1000).float() for c in clouds)
    np.testing.assert_allclose(chamfer_loss(x, y), paired_chamfer(x, y), rtol=1e-5)


def test_gradients_are_those_of_finite_differences(clouds):
    x, y = (c[:, :6].clone().requires_grad_() for c in clouds)
    assert torch.autograd.gradcheck(lambda a, b: chamfer_loss(a, b, chunk=4), (x, y))


def test_a_point_on_another_has_a_finite_gradient():
    x = torch.zeros(1, 4, 3, requires_grad=True)
    chamfer_loss(x, torch.zeros(1, 2, 3)).sum().backward()
    assert torch.equal(x.grad, torch.zeros(1, 4, 3))


def test_nearest_points_are_the_first_of_equals():
    x = torch.tensor([[[0.0], [1.0], [1.0], [5.0]]])
    y = torch.tensor([[[1.0], [4.0], [1.0]]])
    for chunk in (1, 2, 4):
        to_y, to_x = nearest_points(x, y, chunk=chunk)
        assert to_y.tolist() == [[0, 0, 0, 1]]
        assert to_x.tolist() == [[1, 3, 1]]


def test_no_matrix_is_larger_than_a_chunk(clouds, monkeypatch):
    x, y = clouds
    cdist, seen = torch.cdist, []
    monkeypatch.setattr(
        torch, "cdist", lambda a, b, **k: seen.append((a.shape, b.shape)) or cdist(a, b, **k)
    )
    chamfer_loss(x, y, chunk=8)
    assert len(seen) == 7
    assert max(a[1] * b[1] for a, b in seen) == 8 * 37


def test_what_does_not_fit_is_refused(clouds):
    x, y = clouds
    for bad in (y[:2], y[..., :2], y[0], y[:, :0]):
        with pytest.raises(ShapeError, match=r"Chamfer: x and y .* got \(3, 50, 3\)"):
            chamfer_loss(x, bad)
    with pytest.raises(UsageError, match="got 0"):
        chamfer_loss(x, y, chunk=0)


@pytest.mark.gpu
def test_on_a_gpu_it_is_the_same_in_little_memory():
    if not torch.cuda.is_available():
        pytest.skip("no accelerator")
    x, y = torch.randn(2, 4, 8192, 3, device="cuda")
    x.requires_grad_()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    loss = chamfer_loss(x, y, chunk=256)
    loss.sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 4 * 4 * 8192 * 8192 / 4
    np.testing.assert_allclose(loss.detach().cpu(), paired_chamfer(x, y), rtol=1e-5)
