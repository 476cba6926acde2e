"""A scatter shows points where they are, with equal units, and says what it leaves out."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.errors import UsageError
from corekit.report.save import save_pairs, save_picture, worth_drawing
from corekit.report.scatter import scatter


def ink(path):
    """Where a dot was drawn: blue, unlike the axes and the words."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        red, _, blue = np.asarray(image.convert("RGB")).astype(int).transpose(2, 0, 1)
    return blue - red > 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "points.png"


def square(n=2000, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, 2))


def test_points_are_where_they_are_and_units_are_equal(path):
    points = square() * [1, 0.25] + [7, -3]
    assert scatter({"flat": points}, path) == path
    rows, columns = np.nonzero(ink(path))
    assert np.ptp(columns) == pytest.approx(4 * np.ptp(rows), rel=0.04)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    scatter({"a square, under a title that is as wide as that": corners}, path)
    rows, columns = np.nonzero(ink(path))
    assert abs(np.ptp(columns) - np.ptp(rows)) <= 2  # pixels
    line = np.stack([np.linspace(0, 1, 300), np.linspace(0, 1, 300) ** 2], 1)
    scatter({"rises": line}, path)
    rows, columns = np.nonzero(ink(path))
    right = columns > np.quantile(columns, 0.9)
    left = columns < np.quantile(columns, 0.1)
    assert rows[right].mean() < rows[left].mean() - 100  # y is up


def test_panels_share_the_axes_of_the_first(path):
    scatter({"a": square(), "half": square() / 2}, path)
    left, right = np.array_split(ink(path), 2, axis=1)
    widths = [np.ptp(np.nonzero(half)[1]) for half in (left, right)]
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.04)


def test_wild_points_do_not_shrink_the_picture_and_are_counted(path, monkeypatch):
    from matplotlib.axes import Axes

    titles = []
    monkeypatch.setattr(Axes, "set_title", lambda self, text, **more: titles.append(text))
    scatter({"tame": square()}, path)
    tame = ink(path).sum()
    wild = np.concatenate([square(), [[np.nan, 0], [np.inf, 0], [1e6, 0], [0, -1e30]]])
    scatter({"wild": torch.from_numpy(wild)}, path)
    assert ink(path).sum() == pytest.approx(tame, rel=0.02)
    assert titles == ["tame", "wild (4 not shown)"]


@pytest.mark.parametrize("points", [np.zeros((0, 2)), np.full((3, 2), np.nan), np.ones((5, 2))])
def test_strange_sets_are_drawn_all_the_same(points, path):
    scatter({"strange": points}, path)
    assert ink(path).any() == bool(np.isfinite(points).all() and len(points))


def test_no_figure_stays_open_and_no_backend_is_chosen(path, python):
    probe = (
        "import sys, numpy; from corekit.report.scatter import scatter;"
        "assert 'matplotlib' not in sys.modules;"
        f"scatter({{'a': numpy.ones((3, 2))}}, {str(path)!r});"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = python("-c", probe)
    assert done.returncode == 0, done.stderr


def standard_normal(points):
    return -0.5 * points.square().sum(1) - math.log(2 * math.pi)


def test_a_density_has_the_axes_of_the_points_and_the_most_ink_where_it_is_highest(path):
    points = np.random.default_rng(0).normal(size=(4000, 2)) * [1, 0.5] + [3, 0]

    def log_density(at):
        return standard_normal((at - torch.tensor([4.0, 1.0])) / torch.tensor([0.3, 0.1]))

    scatter({"points": points}, path)
    with Image.open(path) as image:
        narrow = image.width
    scatter({"points": points}, path, log_density=log_density)
    with Image.open(path) as image:
        assert image.width == 2 * narrow
    dots, density = np.array_split(ink(path), 2, axis=1)
    (_, columns), (rows, across) = np.nonzero(dots), np.nonzero(density)
    assert across.mean() > columns.mean() + 20  # to the right of the points' middle
    assert rows.mean() < density.shape[0] / 2 - 20  # y is up
    assert np.ptp(across) == pytest.approx(3 * np.ptp(rows), rel=0.2)


def test_a_density_that_is_not_finite_is_white(path):
    def half(at):
        return torch.where(at[:, 0] > 0, standard_normal(at), at.new_full((), math.nan))

    scatter({"points": square()}, path, log_density=half)
    density = np.array_split(ink(path), 2, axis=1)[1]
    assert density[:, density.shape[1] // 2 + 5 :].any()
    assert not density[:, 50 : density.shape[1] // 2 - 5].any()
    scatter({"points": square()}, path, log_density=lambda at: at[:, 0] * math.nan)
    assert not np.array_split(ink(path), 2, axis=1)[1].any()


def test_mistakes_are_explained(path):
    with pytest.raises(UsageError, match="got none"):
        scatter({}, path)
    with pytest.raises(UsageError, match=r"'a' must have shape \(points, 2\), got \(4, 3\)"):
        scatter({"a": np.zeros((4, 3))}, path)


def test_the_shape_of_the_data_chooses_the_picture(path):
    points, clouds = torch.rand(50, 2), torch.rand(2, 50, 3)
    assert save_picture(points, path) == path
    assert save_picture(clouds, path) == path
    assert save_picture(torch.rand(5, 3), path) is None
    assert save_pairs(points, points, path) == path
    assert save_pairs(clouds, clouds, path) == path
    assert save_pairs(torch.rand(5, 3), torch.rand(5, 3), path) is None
    assert [worth_drawing(shape) for shape in [(2,), (3,), (50, 3)]] == [2000, 8, 8]
