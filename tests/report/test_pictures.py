"""Pictures show what they should: the near in front, up on top, at one scale per pair."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.errors import UsageError
from corekit.report.pictures import pairs_grid, point_cloud_grid


def pixels(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def ink(picture):
    return picture.sum(-1) < 750


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "clouds.png"


def test_the_grid_has_rows_columns_and_captions(path):
    clouds = np.random.default_rng(0).normal(size=(5, 100, 3))
    assert point_cloud_grid(clouds, path, columns=3, cell=100) == path
    picture = pixels(path)
    assert picture.shape == (2 * 108, 300, 3)
    shown = [
        ink(picture[r * 108 : r * 108 + 100, c * 100 : c * 100 + 100]).any()
        for r in (0, 1)
        for c in range(3)
    ]
    assert shown == [True] * 5 + [False]
    point_cloud_grid(clouds, path, ["a shape"] * 5, columns=3, cell=100)
    with_captions = pixels(path)
    assert with_captions.shape == (2 * 126, 300, 3)
    assert ink(with_captions[100:126, :100]).any()
    assert not ink(with_captions[226:, 200:]).any()


def test_a_cloud_fills_its_cell_at_any_size_and_place(path):
    cloud = np.random.default_rng(0).normal(size=(500, 3))
    point_cloud_grid([cloud, 1000 * cloud + 50], path, cell=200)
    left, right = np.split(ink(pixels(path)), 2, axis=1)
    assert np.array_equal(left, right)
    rows, columns = np.nonzero(left)
    assert max(np.ptp(rows), np.ptp(columns)) > 180


def test_up_is_up_and_right_is_right(path):
    grid = np.linspace(-1, 1, 21)
    floor = np.array([(x, 0, z) for x in grid for z in grid])
    post = np.array([(0, y, 0) for y in np.linspace(0, 3, 60)])
    point_cloud_grid([np.concatenate([floor, post])], path, cell=200)
    seen = ink(pixels(path))[:200]
    assert seen[20:60].sum(1).max() < 20 < seen[130:170].sum(1).max()  # thin above, wide below
    # +x is to the right and near, so lower; +z to the left and near
    line = np.array([(x, 0, 0) for x in np.linspace(0, 1, 50)])
    point_cloud_grid([np.concatenate([line, [[-1, 0, 0]]])], path, cell=200)
    rows, columns = np.nonzero(ink(pixels(path)))
    assert np.corrcoef(rows, columns)[0, 1] > 0.9


def test_the_near_hides_the_far_and_is_darker(path):
    a, e = np.radians([40, 28])
    eye = np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    disc = np.random.default_rng(0).normal(size=(3000, 3))
    disc -= np.outer(disc @ eye, eye)  # it faces the eye
    cloud = np.concatenate([disc[:1500] + eye, disc[1500:] - eye])
    drawn = []
    for points in (cloud, cloud[::-1]):
        point_cloud_grid([points], path, cell=200)
        drawn.append(pixels(path))
    assert (drawn[0] != drawn[1]).mean() < 0.02  # whatever the order of the points
    middle = drawn[0][80:120, 80:120].reshape(-1, 3)
    assert np.median(middle[:, 0]) < 60  # red is 38 near and 170 far


def test_pairs_are_drawn_at_the_scale_of_the_upper_one(path):
    cloud = torch.randn(3, 300, 3, generator=torch.Generator().manual_seed(0))
    pairs_grid(cloud, 0.5 * cloud, path, columns=2, cell=100)
    picture = pixels(path)
    assert picture.shape == (4 * 126, 200, 3)
    rows = [ink(picture[r * 126 : r * 126 + 100, :100]) for r in range(4)]
    height = [np.ptp(np.nonzero(r)[0]) for r in rows]
    assert height[1] == pytest.approx(height[0] / 2, rel=0.15)
    assert height[3] == pytest.approx(height[2] / 2, rel=0.15)
    assert not ink(picture[252:352, 100:]).any()  # the third pair stands alone


def test_bad_points_are_left_out_and_empty_clouds_are_white(path):
    cloud = np.random.default_rng(0).normal(size=(200, 3))
    wild = np.concatenate([cloud, [[np.nan, 0, 0], [np.inf, 0, 0]]])
    point_cloud_grid(
        [cloud, wild, np.zeros((0, 3)), np.full((3, 3), np.nan), np.ones((4, 3))],
        path,
        cell=60,
        columns=5,
    )
    parts = np.split(pixels(path), 5, axis=1)
    assert np.array_equal(parts[0], parts[1])
    assert [ink(p).any() for p in parts] == [True, True, False, False, True]


def test_a_few_wild_points_do_not_shrink_the_shape(path):
    cloud = np.random.default_rng(0).uniform(-1, 1, size=(2000, 3))
    wild = np.concatenate([cloud, 1000 * cloud[:3]])
    point_cloud_grid([cloud, wild], path, cell=150)
    sizes = [ink(p).sum() for p in np.split(pixels(path), 2, axis=1)]
    assert sizes[1] > 0.4 * sizes[0]


def test_mistakes_are_explained(path):
    cloud = np.zeros((4, 3))
    with pytest.raises(UsageError, match="got none"):
        point_cloud_grid([], path)
    with pytest.raises(UsageError, match=r"cloud 1 .*got \(4, 2\)"):
        point_cloud_grid([cloud, cloud[:, :2]], path)
    with pytest.raises(UsageError, match="got 1 for 2"):
        point_cloud_grid([cloud, cloud], path, ["one"])
    with pytest.raises(UsageError, match="got 2 and 1"):
        pairs_grid([cloud, cloud], [cloud], path)


def test_no_python_is_run_for_each_point(path):
    def calls(points):
        clouds = np.random.default_rng(0).normal(size=(2, points, 3))
        found = []
        sys.setprofile(lambda frame, event, arg: found.append(event))
        try:
            point_cloud_grid(clouds, path)
        finally:
            sys.setprofile(None)
        return len(found)

    calls(10)
    assert calls(4000) < 1.5 * calls(100)
