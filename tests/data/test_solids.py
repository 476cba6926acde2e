"""Solids have the area that geometry says, and points fall on them by area."""

import numpy as np
import pytest

from corekit.data.solids import areas, box, cylinder, loft, rotate, sample_surface, tube, wing


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def volume(triangles):
    """Signed volume by the divergence theorem: |V| is right only if the surface is closed."""
    a, b, c = triangles.swapaxes(0, 1)
    return abs((a * np.cross(b, c)).sum() / 6)


def test_box():
    solid = box((1, 2, 3), (2, 3, 4))
    assert areas(solid).sum() == pytest.approx(2 * (2 * 3 + 3 * 4 + 2 * 4))
    assert volume(solid) == pytest.approx(24)
    assert solid.reshape(-1, 3).min(0) == pytest.approx([0, 0.5, 1])
    assert solid.reshape(-1, 3).max(0) == pytest.approx([2, 3.5, 5])


def test_cylinder_and_cone():
    tall = cylinder((0, 0, 0), (1, 2, 2), 0.5)  # length 3, a polygon of 20 sides
    polygon = 10 * np.sin(2 * np.pi / 20) * 0.25
    assert volume(tall) == pytest.approx(3 * polygon)
    assert areas(tall).sum() == pytest.approx(2 * polygon + 3 * 20 * np.sin(np.pi / 20))
    assert volume(cylinder((0, 0, 0), (0, 3, 0), 0.5, 0.0)) == pytest.approx(polygon)


def test_tube_follows_its_path():
    path = np.array([[0.0, 0, 0], [1, 0.2, 0], [2, 0, 0]])
    corners = tube(path, np.array([0.1, 0.3, 0.1])).reshape(-1, 3)
    middle = corners[np.isclose(corners[:, 0], 1)]
    assert middle.mean(0) == pytest.approx([1, 0.2, 0])
    assert np.linalg.norm(middle - [1, 0.2, 0], axis=1) == pytest.approx(0.3)


@pytest.mark.parametrize("tip", [(-0.3, 0.1, 1.0), (-0.3, 1.0, 0.0), (-0.2, 0.0, -1.0)])
def test_a_wing_is_closed_and_spans_from_root_to_tip(tip):
    solid = wing((0, 0, 0), tip, (0.4, 0.2), 0.1)
    corners = solid.reshape(-1, 3)
    assert corners[:, 0].max() == pytest.approx(0)
    assert corners[:, 0].min() == pytest.approx(min(-0.4, tip[0] - 0.2))
    # the volume of a frustum between two profiles, chord 0.4 and 0.2, square to the span
    profile = volume(wing((0, 0, 0), (0, 0, 1), (1, 1), 0.1))
    length = np.hypot(tip[1], tip[2])
    assert volume(solid) == pytest.approx(profile * length * (0.16 + 0.08 + 0.04) / 3)


def test_rotation_is_right_handed_and_about_a_point():
    turned = rotate(np.array([[[1.0, 0, 0]] * 3]), 90, 2)
    assert turned[0, 0] == pytest.approx([0, 1, 0])
    assert rotate(turned, 90, 0)[0, 0] == pytest.approx([0, 0, 1])
    assert rotate(turned, 180, 2, (0, 1, 0))[0, 0] == pytest.approx([0, 1, 0])


def test_points_fall_on_parts_by_their_area(rng):
    parts = [
        box((0, 0, 0), (1, 1, 1)),
        box((10, 0, 0), (3, 0.1, 2)),
        cylinder((20, 0, 0), (20, 5, 0), 0.2),
    ]
    wanted = np.array([areas(p).sum() for p in parts])
    wanted = wanted / wanted.sum()
    points = sample_surface(np.concatenate(parts), 30000, rng)
    seen = np.bincount(np.digitize(points[:, 0], [5, 15]), minlength=3) / 30000
    assert np.abs(seen - wanted).max() < 5 * np.sqrt(0.25 / 30000)


def test_points_are_uniform_within_a_face(rng):
    points = sample_surface(box((0, 0, 0), (2, 2, 2)), 24000, rng)
    top = points[np.isclose(points[:, 1], 1)]
    counts, *_ = np.histogram2d(top[:, 0], top[:, 2], bins=4, range=[[-1, 1], [-1, 1]])
    assert np.abs(counts - len(top) / 16).max() < 5 * np.sqrt(len(top) / 16)


def test_points_are_in_no_order(rng):
    solid = np.concatenate([box((0, 0, 0), (1, 1, 1)), box((9, 0, 0), (1, 1, 1))])
    side = sample_surface(solid, 4000, rng)[:, 0] > 5
    changes = (side[1:] != side[:-1]).mean()
    assert changes == pytest.approx(0.5, abs=0.05)


def test_flat_pieces_get_no_points(rng):
    flat = loft(np.zeros((2, 4, 3)))
    points = sample_surface(np.concatenate([flat, box((5, 5, 5), (1, 1, 1)), flat]), 500, rng)
    assert points.min() >= 4.5
