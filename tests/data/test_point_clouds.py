"""Scale modes, drawing points, and what every split of clouds promises."""

import pickle
from typing import get_args

import numpy as np
import pytest

from corekit.data.point_clouds import (
    CloudSplit,
    ScaleMode,
    coordinate_std,
    draw_points,
    first_points,
    shift_and_scale,
)
from corekit.errors import DataError, UsageError
from corekit.spec import data as data_specs


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def cloud(rng):
    return (rng.normal(size=(50, 3)) * [1, 2, 3] + [5, 0, -1]).astype(np.float32)


def normalised(cloud, mode, std=None):
    shift, scale = shift_and_scale(cloud, mode, std)
    return (cloud - shift) / scale


def test_spec_and_code_know_the_same_modes():
    assert get_args(ScaleMode) == get_args(data_specs.ScaleMode)


@pytest.mark.parametrize("mode", ["shape_unit", "shape_half", "shape_34", "global_unit"])
def test_clouds_are_centred_at_their_mean(cloud, mode):
    assert normalised(cloud, mode, 2.0).mean(0) == pytest.approx(np.zeros(3), abs=1e-6)


@pytest.mark.parametrize(
    ("mode", "std"), [("shape_unit", 1), ("shape_half", 0.5), ("shape_34", 0.75)]
)
def test_a_centred_cloud_gets_the_wanted_std(cloud, mode, std):
    centred = cloud - cloud.mean(0)
    assert normalised(centred, mode).std(ddof=1) == pytest.approx(std, rel=1e-5)


def test_the_spread_is_that_of_the_uncentred_cloud(cloud):
    _, scale = shift_and_scale(cloud, "shape_unit")
    assert scale == pytest.approx(np.std(cloud.astype(float), ddof=1), rel=1e-6)


def test_bbox_fills_the_unit_cube_along_its_longest_side(cloud):
    box = normalised(cloud, "shape_bbox")
    assert (box.max(0) + box.min(0)) == pytest.approx(np.zeros(3), abs=1e-6)
    assert np.abs(box).max() == pytest.approx(1, abs=1e-6)


def test_none_changes_nothing(cloud):
    assert np.array_equal(normalised(cloud, "none"), cloud)


def test_wrong_modes_and_empty_clouds_are_refused(cloud):
    with pytest.raises(UsageError, match=r"shape_bbox.*got 'unit'"):
        shift_and_scale(cloud, "unit")
    with pytest.raises(UsageError, match=r"std of a data set, got None"):
        shift_and_scale(cloud, "global_unit")
    with pytest.raises(DataError, match=r"extent, got scale 0\.0 in mode shape_unit"):
        shift_and_scale(np.zeros((4, 3), np.float32), "shape_unit")


def test_std_over_pieces_is_the_std_of_all(rng):
    parts = [rng.normal(size=(n, 3)) + 1000 + n for n in (1, 7, 400)]
    everything = np.concatenate(parts).ravel()
    assert coordinate_std(parts) == pytest.approx(everything.std(ddof=1), rel=1e-12)
    with pytest.raises(DataError, match="got none"):
        coordinate_std([])


def rows(points):
    return {tuple(p) for p in points.tolist()}


def test_enough_points_are_drawn_without_replacement(cloud, rng):
    drawn = draw_points(cloud, 50, rng)
    assert rows(drawn) == rows(cloud)
    assert not np.array_equal(drawn, cloud)
    assert len(rows(draw_points(cloud, 20, rng))) == 20


def test_too_few_points_are_all_used_then_repeated(cloud, rng):
    drawn = draw_points(cloud, 120, rng)
    assert drawn.shape == (120, 3)
    assert rows(drawn) == rows(cloud)
    assert np.array_equal(first_points(cloud, 70), np.concatenate([cloud, cloud[:20]]))


def test_every_point_is_as_likely(rng):
    line = np.arange(10)[:, None]
    counts = np.bincount(
        np.concatenate([draw_points(line, 3, rng)[:, 0] for _ in range(3000)]), minlength=10
    )
    assert np.abs(counts - 900).max() < 5 * np.sqrt(900 * 0.7)


def test_what_is_drawn_is_a_copy(cloud, rng):
    before = cloud.copy()
    for drawn in (draw_points(cloud, 50, rng), draw_points(cloud, 70, rng), first_points(cloud, 9)):
        drawn += 1
    assert np.array_equal(cloud, before)


class Clouds(CloudSplit):
    """Three clouds in memory, counting how often each is read."""

    def __init__(self, clouds, points, **options):
        super().__init__(points, **options)
        self.clouds = clouds
        self.reads = 0

    def __len__(self):
        return len(self.clouds)

    def label(self, index):
        return 0

    def _read(self, index):
        self.reads += 1
        return self.clouds[index]


@pytest.fixture
def clouds(rng):
    return [rng.normal(size=(40, 3)).astype(np.float32) for _ in range(3)]


def test_get_is_a_function_of_index_and_rng_and_leaves_the_data_alone(clouds):
    before = [c.copy() for c in clouds]
    split = Clouds(clouds, 16, scale="shape_bbox")
    first = split.get(1, np.random.default_rng(3)).x
    kept = first.clone()
    first += 1  # the caller may write to what it was given
    assert split.get(1, np.random.default_rng(3)).x.equal(kept)
    assert not split.get(1, np.random.default_rng(4)).x.equal(kept)
    assert all(np.array_equal(a, b) for a, b in zip(clouds, before, strict=True))
    assert (kept.shape, str(kept.dtype)) == ((16, 3), "torch.float32")


def test_without_resampling_the_first_points_are_given_again_and_again(clouds):
    split = Clouds(clouds, 16, scale="none", resample=False)
    for seed in (0, 1):
        x = split.get(2, np.random.default_rng(seed)).x.numpy()
        assert np.array_equal(x, clouds[2][:16])


def test_the_draw_does_not_change_the_scale(clouds):
    split = Clouds(clouds, 8, scale="shape_bbox")
    shift, scale = split.shift_and_scale(0)
    back = split.get(0, np.random.default_rng(0)).x.numpy() * scale + shift
    assert all(np.abs(clouds[0] - p).max(1).min() < 1e-5 for p in back)


def test_clouds_are_kept_up_to_a_limit_and_not_pickled(clouds):
    split = Clouds(clouds, 8, cache_bytes=2 * clouds[0].nbytes)
    for _ in range(2):
        for i in range(3):
            split.cloud(i)
    assert split.reads == 4  # the third cloud has no room
    copy = pickle.loads(pickle.dumps(split))
    assert copy._cache == {}
    assert np.array_equal(copy.cloud(0), split.cloud(0))


def test_an_index_outside_is_refused_and_a_flat_cloud_named(clouds):
    split = Clouds([*clouds, np.zeros((40, 3), np.float32)], 8)
    with pytest.raises(IndexError, match="Shape -1"):
        split.get(-1, np.random.default_rng(0))
    with pytest.raises(DataError, match="It is shape 3"):
        split.get(3, np.random.default_rng(0))
