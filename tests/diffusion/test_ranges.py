"""Functions of predicted data: clipping, dynamic thresholds, and a model that asks for them."""

import numpy as np
import pytest
import torch

from corekit.data_spec import DataSpec, Support, pixel_spec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.predicting import denoised, dynamically_thresholded, thresholded
from corekit.diffusion.ranges import clipping, range_of
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified, linear_betas
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Prediction
from corekit.testing.oracle import GaussianOracle, OracleDenoiser

SCHEDULE = DiscreteSchedule(linear_betas(40))


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def saying(x_0, log_variance=None):
    return lambda x, level: Prediction(x_0, torch.zeros_like(x), log_variance)


LEVEL = Rectified().at(torch.tensor([0.3, 0.6, 0.9]).double())


def expect_consistent(prediction, x_t):
    """x_t is what x_0 and eps make."""
    alpha, sigma = (v[:, None] for v in (LEVEL.alpha, LEVEL.sigma))
    torch.testing.assert_close(alpha * prediction.x_0 + sigma * prediction.eps, x_t)


def test_a_function_of_the_data_changes_eps_too_and_leaves_the_variance():
    x_t, x_0, variance = normal(3, 5), normal(3, 5, seed=1), normal(3, 5, seed=2)
    found = denoised(saying(x_0, variance), lambda x: x.round())(x_t, LEVEL)
    assert torch.equal(found.x_0, x_0.round())
    assert found.log_variance is variance
    expect_consistent(found, x_t)
    clipped = thresholded(saying(x_0, variance), -0.5, 1.0)(x_t, LEVEL)
    assert torch.equal(clipped.x_0, x_0.clamp(-0.5, 1.0))
    assert clipped.log_variance is variance
    expect_consistent(clipped, x_t)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0)])
def test_dynamic_thresholds_shrink_the_rows_that_leave_the_range(low, high):
    """Saharia et al. 2022, section 2.3, with NumPy's percentile of the same kind."""
    x_t, x_0 = normal(3, 50), 2 * normal(3, 50, seed=1)
    x_0[1] = 0.2 * x_0[1].clamp(-1, 1) + (low + high) / 2  # a row inside the range
    found = dynamically_thresholded(saying(x_0), low, high, quantile=0.93)(x_t, LEVEL)
    middle, half = (low + high) / 2, (high - low) / 2
    for row in range(3):
        away = x_0[row].numpy() - middle
        size = max(half, np.quantile(np.abs(away), 0.93, method="inverted_cdf"))
        wanted = middle + half * np.clip(away, -size, size) / size
        np.testing.assert_allclose(found.x_0[row].numpy(), wanted, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found.x_0[1], x_0[1])
    assert found.x_0.min() >= low
    assert found.x_0.max() <= high
    expect_consistent(found, x_t)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dynamic_thresholds_take_any_event_and_precision(dtype):
    x = (3 * normal(3, 2, 4, 4)).to(dtype)
    level = LEVEL.map(lambda c: c.float())
    found = dynamically_thresholded(saying(x), -1.0, 1.0)(x, level)
    assert (found.x_0.dtype, found.x_0.shape) == (dtype, x.shape)
    assert found.x_0.abs().max() == 1
    with pytest.raises(UsageError, match=r"quantile must lie in \(0, 1\], got 0"):
        dynamically_thresholded(saying(x), -1.0, 1.0, quantile=0)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (DataSpec((2,), support=Support.UNIT_INTERVAL), (0, 1)),
        (DataSpec((2,), support=Support.SYMMETRIC_INTERVAL), (-1, 1)),
        (pixel_spec((3, 2, 2), (-1.0, 1.0)), (-1, 1)),
        (pixel_spec((3, 2, 2), (0.0, 1.0)), (0, 1)),
        (DataSpec((2,), levels=4, bin_width=0.5, lowest=-3.0), (-3, -1.5)),
        (DataSpec((2,)), None),
    ],
)
def test_the_range_of_data(data, wanted):
    assert range_of(data) == (wanted if wanted is None else pytest.approx(wanted))


class SquaredError(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def model(data, **options):
    def oracle(event_shape, condition_shapes, out_channels):
        return OracleDenoiser(GaussianOracle(0.5 * torch.ones(6), torch.ones(6)))

    return DiffusionModel(
        data, denoiser=oracle, schedule=SCHEDULE, loss=SquaredError(), sampler=Ddim(), **options
    )


@pytest.mark.parametrize(
    ("clip", "wrapper"),
    [("auto", thresholded), ("static", thresholded), ("dynamic", dynamically_thresholded)],
)
def test_a_model_clips_if_asked(clip, wrapper):
    data, x_T = DataSpec((6,), support=Support.SYMMETRIC_INTERVAL), 2 * normal(8, 6).float()
    free, clipped = (
        model(data, clip=how).sample(8, generator=GivenDraws({"x_T": x_T})) for how in (None, clip)
    )
    assert free.abs().max() > 1.05
    assert clipped.abs().max() <= 1 + 1e-6
    oracle = GaussianOracle(0.5 * torch.ones(6), torch.ones(6))
    predict = wrapper(oracle.predict, low=-1.0, high=1.0)
    wanted = Ddim()(predict, SCHEDULE, x_T, times=SCHEDULE.times(40))
    torch.testing.assert_close(clipped, wanted)


@pytest.mark.parametrize(
    "data",
    [
        DataSpec((6,)),
        DataSpec((6,), support=Support.UNIT_INTERVAL, mean=(0.5,), std=(0.2,)),
        pixel_spec((1, 2, 3), (-1.0, 1.0)),
    ],
)
def test_unless_told_otherwise_a_model_clips_what_has_a_range(data):
    has_range = range_of(data) is not None and data.mean is None
    assert (model(data).density.clipped is not None) is has_range
    assert model(data, clip=None).density.clipped is None


def test_data_without_a_range_cannot_be_clipped():
    with pytest.raises(UsageError, match="clip must meet data of a known range"):
        model(DataSpec((6,)), clip="static")
    standard = DataSpec((6,), support=Support.UNIT_INTERVAL, mean=(0.5,), std=(0.2,))
    with pytest.raises(UsageError, match="or standardised"):
        clipping("A model", "static", standard)
    with pytest.raises(UsageError, match="got data without one"):
        clipping("A prior", "dynamic", None)
    assert clipping("A prior", None, None) is None
