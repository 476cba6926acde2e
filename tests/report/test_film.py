"""Films: samples on their way from noise."""

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.data_spec import DataSpec, pixel_spec
from corekit.errors import UsageError
from corekit.report.film import save_film


def clouds(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("shape", "data"),
    [((3, 40, 3), DataSpec((40, 3))), ((3, 1, 4, 4), pixel_spec((1, 4, 4), (-1, 1)))],
)
def test_a_film_has_a_picture_per_moment_and_rests_at_the_end(shape, data, tmp_path):
    frames = [clouds(*shape) * scale for scale in (3, 1.5, 1)]
    with Image.open(save_film(frames, tmp_path / "film.gif", data)) as film:
        assert film.n_frames == 3
        film.seek(0)
        first, pictures = film.info["duration"], [np.array(film.convert("RGB"))]
        film.seek(2)
        assert film.info["duration"] > 10 * first
        pictures.append(np.array(film.convert("RGB")))
    assert pictures[0].shape == pictures[1].shape
    assert not np.array_equal(*pictures)


def test_a_film_of_something_else_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"got shape \(7,\)"):
        save_film([clouds(3, 7)], tmp_path / "film.gif")
    with pytest.raises(UsageError, match="there must be a frame"):
        save_film([], tmp_path / "film.gif")


def test_all_moments_have_the_scale_of_the_last(tmp_path):
    x = clouds(1, 200, 3)

    def moments(scale):
        with Image.open(save_film([scale * x, x], tmp_path / "film.gif")) as film:
            pictures = []
            for number in (0, 1):
                film.seek(number)
                pictures.append(np.array(film.convert("L")).astype(int))
            return pictures

    (far, last), (near, same) = moments(10), moments(0.5)
    assert np.abs(last - same).mean() < 1
    shown = [(picture < 250).sum() for picture in (far, last, near)]
    assert shown[0] < shown[1] / 2  # most is outside
    assert shown[2] < shown[1]  # and here it is smaller
