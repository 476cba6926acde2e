"""JSD and F-score: by hand, and by the reference's numbers."""

import os

import numpy as np
import pytest

from corekit.errors import ShapeError, UsageError
from corekit.metrics.f_score import paired_f_score
from corekit.metrics.occupancy import jsd, occupancy


def test_jsd_by_hand():
    assert jsd(np.array([3, 1, 0]), np.array([6, 2, 0])) == 0
    assert jsd(np.array([5, 0]), np.array([0, 2])) == 1
    # P = (1, 0), Q = (1/2, 1/2): H(3/4, 1/4) - (0 + 1) / 2
    wanted = 0.75 * np.log2(4 / 3) + 0.25 * 2 - 0.5
    assert jsd(np.array([4, 0]), np.array([3, 3])) == pytest.approx(wanted)
    with pytest.raises(ShapeError, match=r"got \(2,\) and \(2,\) with 0 and 1"):
        jsd(np.array([0, 0]), np.array([0, 1]))


def test_points_count_in_the_nearest_centre_inside_the_ball():
    # resolution 3: centres at -.5, 0, .5 per axis; in the ball are the middle and 6 neighbours
    cloud = np.array([[0.1, 0, 0], [0.4, 0, 0], [2.0, 0, 0], [0, 0, -0.3], [0, -0.45, -0.44]])
    found = occupancy([cloud, cloud[:1]], scale=1, resolution=3)
    # in the order of the lattice: x = -1/2; y, z in the plane x = 0; x = 1/2
    assert found.counts.tolist() == [0, 1, 1, 2, 0, 0, 2]
    assert found.outside == pytest.approx((1 / 5 + 0) / 2)
    coin = np.log(2)  # cells that one of the two clouds hits
    assert found.entropy == pytest.approx(3 * coin / 7)
    assert occupancy([2 * cloud], scale=0.5, resolution=3).counts.tolist() == [0, 1, 1, 1, 0, 0, 2]


def test_options_that_make_no_sense_are_refused():
    with pytest.raises(UsageError, match="got 0 and 28"):
        occupancy(np.zeros((1, 2, 3)), scale=0)
    with pytest.raises(ShapeError, match=r"JSD: cloud 0 .* got \(2, 2\)"):
        occupancy(np.zeros((1, 2, 2)), scale=1)


def test_f_score_by_hand():
    x = np.array([[[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0, 0]]])
    y = np.array([[[0.05, 0, 0], [1.2, 0, 0]]])
    # nearer than 0.1: one of four points of x, one of two of y
    wanted = 2 * 0.25 * 0.5 / 0.75
    assert paired_f_score(x, y, threshold=0.1, squared=False) == pytest.approx(wanted)
    assert paired_f_score(x, y, threshold=0.01) == pytest.approx(wanted)
    assert paired_f_score(x, y, threshold=0.05) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert paired_f_score(x, y + 9).tolist() == [0]
    assert paired_f_score(x, x).tolist() == [1]
    with pytest.raises(ShapeError, match="got 1 and 2"):
        paired_f_score(x, np.zeros((2, 3, 3)))
    with pytest.raises(UsageError, match="above 0, got 0"):
        paired_f_score(x, y, threshold=0)


GOLDEN = os.environ.get("COREKIT_GOLDEN")


@pytest.mark.skipif(
    not GOLDEN, reason="COREKIT_GOLDEN does not name a folder with golden/pointcloud"
)
def test_golden_divergences_counts_entropy_and_f_scores():
    with np.load(f"{GOLDEN}/pointcloud/metrics.npz") as golden:
        sample, reference = golden["sample"], golden["ref"]
        names = {1.0: "bbox_pm1_as_test_gen", 0.5: "half_scaled_unit_cube"}
        for scale, name in names.items():
            for resolution in (28, 16):
                found = [
                    occupancy(x, scale=scale, resolution=resolution).counts
                    for x in (sample, reference)
                ]
                wanted = golden[f"jsd/{name}_res{resolution}"].item()
                assert jsd(*found) == pytest.approx(wanted, rel=1e-11)
        half = occupancy(sample, scale=0.5)
        assert np.array_equal(half.counts, golden["jsd/counts_half_sample_res28"])
        assert len(half.counts) == golden["jsd/num_cells_in_sphere_res28"]
        assert half.entropy == pytest.approx(
            golden["jsd/entropy_half_sample_res28"].item(), rel=1e-12
        )
        assert half.outside == 0
        assert occupancy(sample, scale=1).outside > 0.7
        for threshold in (0.001, 0.01):
            ours = paired_f_score(sample, reference[:10], threshold=threshold)
            np.testing.assert_allclose(
                ours, golden[f"paired/fscore_sqdist_thr{threshold}"], rtol=1e-12
            )
