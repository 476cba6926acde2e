"""Chamfer distances equal the double loop in float64."""

import os

import numpy as np
import pytest
import torch

from corekit.errors import DataError, ShapeError
from corekit.metrics.distances import chamfer, paired_chamfer, pairwise_chamfer


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def by_definition(x, y):
    squared = ((x[:, None] - y[None]) ** 2).sum(-1)
    return squared.min(1).mean() + squared.min(0).mean()


def test_two_points():
    assert chamfer(np.array([[0.0, 0, 0]]), np.array([[0.0, 3, 4]])) == 50
    assert chamfer(np.zeros((1, 3)), np.array([[1.0, 0, 0], [3, 0, 0]])) == 1 + (1 + 9) / 2


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_all_pairs_of_unequal_sizes_equal_the_definition(rng, dimensions):
    a = [rng.normal(size=(n, dimensions)) for n in (1, 7, 40, 33)]
    b = [rng.normal(size=(n, dimensions)) + 0.3 for n in (25, 2, 64)]
    wanted = [[by_definition(x, y) for y in b] for x in a]
    np.testing.assert_allclose(pairwise_chamfer(a, b), wanted, rtol=1e-12)
    np.testing.assert_allclose(pairwise_chamfer(b, a), np.transpose(wanted), rtol=1e-12)


def test_a_set_with_itself_is_symmetric_with_zeros(rng):
    a = [rng.normal(size=(n, 3)) for n in (9, 30, 17)]
    alone = pairwise_chamfer(a)
    np.testing.assert_allclose(alone, pairwise_chamfer(a, a), rtol=1e-12)
    assert np.array_equal(alone, alone.T)
    assert (np.diag(alone) == 0).all()


def test_workers_and_tensors_change_nothing(rng):
    clouds = rng.normal(size=(5, 30, 3)).astype(np.float32)
    expected = pairwise_chamfer(clouds)
    assert np.array_equal(pairwise_chamfer(clouds, workers=2), expected)
    assert np.array_equal(pairwise_chamfer(torch.from_numpy(clouds)), expected)
    assert expected.dtype == np.float64


def test_float32_input_is_not_rounded_further():
    x, y = np.float32([[1, 0, 0]]), np.float32([[1 + 1e-6, 0, 0]])
    gap = float(y[0, 0]) - 1
    assert chamfer(x, y) == pytest.approx(2 * gap**2, rel=1e-9)


def test_order_of_points_does_not_matter(rng):
    x, y = rng.normal(size=(2, 50, 3))
    assert chamfer(rng.permutation(x), y) == pytest.approx(chamfer(x, y), rel=1e-13)


def test_pairs_are_the_diagonal(rng):
    a, b = rng.normal(size=(2, 4, 20, 3))
    np.testing.assert_allclose(paired_chamfer(a, b), np.diag(pairwise_chamfer(a, b)), rtol=1e-13)
    with pytest.raises(ShapeError, match="got 4 and 3"):
        paired_chamfer(a, b[:3])


def test_clouds_that_do_not_fit_are_refused(rng):
    good = rng.normal(size=(5, 3))
    with pytest.raises(ShapeError, match=r"cloud 1 .* got \(5, 2\)"):
        pairwise_chamfer([good, good[:, :2]])
    with pytest.raises(ShapeError, match=r"cloud 0 .* got \(3,\)"):
        pairwise_chamfer([good[0]])
    with pytest.raises(ShapeError, match="got none"):
        pairwise_chamfer([])
    with pytest.raises(DataError, match="cloud 0 must hold finite"):
        chamfer(np.where(good > 0, np.nan, good), good)


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
def test_golden_matrices():
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        sets = {"ref": golden["ref"], "sample": golden["sample"]}
        for a, b in (("ref", "sample"), ("ref", "ref"), ("sample", "sample")):
            ours = pairwise_chamfer(sets[a], None if a == b else sets[b])
            np.testing.assert_allclose(ours, golden[f"cd/{a}_{b}_f64"], rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(ours, golden[f"cd/{a}_{b}_fp32_reference"], atol=2e-6)
        paired = paired_chamfer(golden["sample"], golden["ref"][:10])
        np.testing.assert_allclose(paired, golden["paired/cd_per_cloud_f64"], rtol=1e-12)
