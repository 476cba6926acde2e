"""Images are drawn as they are: their levels, their order, enlarged by whole numbers."""

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.data_spec import DataSpec, Support, pixel_spec
from corekit.errors import UsageError
from corekit.report.images import image_grid, to_pixels
from corekit.report.save import save_pairs, save_picture, worth_drawing

LEVELS = torch.arange(256).reshape(1, 1, 16, 16)


def opened(path):
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "folder" / "images.png"


@pytest.mark.parametrize("value_range", [(-1, 1), (0, 1), (0, 255), (-0.5, 0.5)])
def test_every_level_is_drawn_as_itself(value_range):
    spec = pixel_spec((1, 16, 16), value_range)
    values = spec.lowest + LEVELS.float() * spec.bin_width
    assert np.array_equal(to_pixels(values, spec)[0], LEVELS[0, 0])
    assert spec.black_and_white == pytest.approx(value_range)


def test_what_is_beyond_the_range_is_cut_and_nan_is_black():
    x = torch.tensor([-9.0, 9.0, float("nan"), float("inf"), 0.0]).reshape(1, 1, 1, 5)
    assert to_pixels(x).tolist() == [[[0, 255, 0, 255, 128]]]
    unit = DataSpec((1, 1, 5), support=Support.UNIT_INTERVAL)
    assert to_pixels(x, unit).tolist() == [[[0, 255, 0, 255, 0]]]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_images_come_in_rows_each_where_it_belongs(path, channels):
    shades = torch.linspace(-1, 0.9, 10).reshape(10, 1, 1, 1).expand(10, channels, 64, 64).clone()
    if channels == 4:
        shades[:, 3] = 1
    assert image_grid(shades, path, columns=4) == path
    picture = opened(path)
    assert picture.shape == (3 * 132 + 4, 4 * 132 + 4, 3)
    want = to_pixels(shades).reshape(10, -1)[:, 0]
    for i in range(10):
        y, x = 4 + i // 4 * 132, 4 + i % 4 * 132
        assert (picture[y : y + 128, x : x + 128] == want[i]).all()
    assert (picture[270:, 270:] == 255).all()


def test_colours_and_pixels_stay_where_they_are(path):
    x = torch.rand(1, 3, 5, 7) * 2 - 1
    save_picture(x, path, ["a caption"])
    factor = 128 // 7
    cells = opened(path)[4 : 4 + 5 * factor : factor, 4 : 4 + 7 * factor : factor]
    assert np.array_equal(cells, to_pixels(x)[0])


def test_a_copy_is_below_its_original(path):
    tops = torch.linspace(-1, 0.4, 10).reshape(10, 1, 1, 1).expand(10, 1, 128, 128)
    assert save_pairs(tops, tops + 0.5, path) == path
    picture = opened(path)
    for i in range(10):
        y, x = 70 + i // 8 * 2 * 132, 70 + i % 8 * 132
        assert picture[y, x, 0] == pytest.approx(255 * (tops[i, 0, 0, 0] + 1) / 2, abs=1)
        assert picture[y + 132, x, 0] == pytest.approx(255 * (tops[i, 0, 0, 0] + 1.5) / 2, abs=1)
    assert (picture[300:, 300:] == 255).all()


def test_what_is_no_image_is_refused(path):
    assert worth_drawing((3, 8, 8)) == 32
    assert save_picture(torch.zeros(4, 2, 8, 8), path) is None
    with pytest.raises(UsageError, match=r"got \(4, 2, 8, 8\)"):
        image_grid(torch.zeros(4, 2, 8, 8), path)
    with pytest.raises(UsageError, match="got 1 for 2"):
        image_grid(torch.zeros(2, 1, 8, 8), path, ["one"])
