"""Exact EMD is the best of all matchings, and its bounds never lie above it."""

import os
from itertools import permutations

import numpy as np
import pytest
import torch

from corekit.errors import ShapeError
from corekit.metrics.emd import EMDPairs, emd, matching, paired_emd, pairwise_emd


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def by_trying_all(x, y, power):
    costs = np.linalg.norm(x[:, None] - y[None], axis=-1) ** power
    rows = np.arange(len(x))
    return min(costs[rows, list(order)].mean() for order in permutations(rows))


@pytest.mark.parametrize("squared", [False, True])
def test_it_is_the_best_of_all_matchings(rng, squared):
    for _ in range(5):
        x, y = rng.normal(size=(2, 6, 3))
        assert emd(x, y, squared=squared) == pytest.approx(by_trying_all(x, y, 1 + squared))


def test_a_copy_in_another_order_is_at_zero_and_a_shift_is_its_length(rng):
    x = rng.normal(size=(40, 3))
    moved = rng.permutation(x) + np.array([0.03, 0, 0.04])
    assert emd(x, rng.permutation(x)) == 0
    assert emd(x, moved) == pytest.approx(0.05)
    assert emd(x, moved, squared=True) == pytest.approx(0.0025)


def test_the_matching_gives_the_distance_its_gradient(rng):
    x = torch.from_numpy(rng.normal(size=(9, 3))).requires_grad_()
    y = torch.from_numpy(rng.normal(size=(9, 3)))
    order = matching(x, y)
    assert sorted(order) == list(range(9))
    distance = (x - y[order]).norm(dim=-1).mean()
    assert distance.item() == pytest.approx(emd(x, y))
    distance.backward()
    step = 1e-3 * x.grad
    assert emd(x - step, y) == pytest.approx(emd(x, y) - 1e-3 * x.grad.square().sum().item())


def test_unequal_numbers_of_points_are_refused(rng):
    a, b = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 7, 3))
    with pytest.raises(ShapeError, match=r"EMD: clouds must have equally many points, got 5 and 7"):
        pairwise_emd(a, b)
    with pytest.raises(ShapeError, match="got 5 and 7"):
        matching(a[0], b[0])
    with pytest.raises(ShapeError, match="EMD: pairs must be complete, got 2 and 1"):
        paired_emd(a, a[:1])


@pytest.mark.parametrize("squared", [False, True])
def test_bounds_lie_below_and_the_second_is_the_better_one(rng, squared):
    distance = EMDPairs(squared=squared)
    clouds = [distance.prepare(rng.normal(size=(30, 3)) * s) for s in (0.3, 1, 1, 2)]
    for x in clouds:
        exact, first = distance.row(x, clouds), distance.bounds(x, clouds)
        second = [distance.unless_above(x, y, -1.0) for y in clouds]
        assert not any(solved for _, solved in second)
        values = np.array([value for value, _ in second])
        assert (first <= exact).all()
        assert (values <= exact).all()
        assert (values >= first * (1 - 1e-12)).all()
        assert distance.unless_above(x, clouds[1], np.inf) == (pytest.approx(exact[1]), True)


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
def test_golden_matrices_and_pairs():
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        sets = {"ref": golden["ref"], "sample": golden["sample"]}
        for a, b in (("ref", "sample"), ("ref", "ref"), ("sample", "sample")):
            second = None if a == b else sets[b]
            for squared, name in ((False, "L2"), (True, "squaredL2")):
                ours = pairwise_emd(sets[a], second, squared=squared)
                wanted = golden[f"emd/{a}_{b}_exact_{name}_f64"]
                np.testing.assert_allclose(ours, wanted, rtol=1e-12, atol=1e-14)
        pairs = paired_emd(golden["sample"], golden["ref"][:10])
        np.testing.assert_allclose(pairs, golden["paired/emd_exact_L2_per_cloud_f64"], rtol=1e-12)
