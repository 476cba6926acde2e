"""Grids: which levels solvers visit."""

import math

import numpy as np
import pytest
import torch

from corekit.diffusion.dpm_solver import DpmSolver
from corekit.diffusion.grids import OnGrid, on_levels
from corekit.diffusion.karras import Euler, Heun
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.diffusion.unipc import UniPc
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.testing.oracle import Trigonometric

TABLES = {
    "linear": DiscreteSchedule(linear_betas(60)),
    "cosine": DiscreteSchedule(cosine_betas(60)),
    "zero_snr": DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(60))),
    "respaced": DiscreteSchedule(cosine_betas(1000)).respace(range(0, 1000, 17)),
}
GRIDS = ["arctan", "even", "karras", "log_snr"]


def ratios(schedule, times):
    level = schedule.at(times)
    return (level.sigma / level.alpha).numpy()


def test_the_default_grid_is_even_in_the_angle():
    for schedule in (Rectified(), Trigonometric()):
        angles = np.arctan(ratios(schedule, OnGrid(steps=8).times(schedule)))
        np.testing.assert_allclose(angles, math.pi / 2 * np.arange(8, -1, -1) / 8, atol=1e-12)


def test_the_angles_start_at_the_end_of_the_schedule():
    short = DiscreteSchedule(linear_betas(2000, 1e-5, 2e-3))  # ends at an angle of 69 degrees
    angles = np.arctan(ratios(short, OnGrid(steps=8).times(short)))
    assert angles[0] < 1.25
    np.testing.assert_allclose(angles, angles[0] * np.arange(8, -1, -1) / 8, atol=0.002)


def test_a_karras_grid_is_theirs_after_a_first_step_to_sigma_max():
    """Karras et al., eq. 5."""
    i, n, rho = np.arange(9), 9, 5.0
    high, low = 30 ** (1 / rho), 0.01 ** (1 / rho)
    wanted = (high + i / (n - 1) * (low - high)) ** rho
    grid = OnGrid(steps=10, grid="karras", rho=rho, sigma_min=0.01, sigma_max=30.0)
    found = ratios(Rectified(), grid.times(Rectified()))
    assert np.isinf(found[0])
    np.testing.assert_allclose(found[1:-1], wanted, rtol=1e-9)
    assert found[-1] == 0


def test_a_log_snr_grid_is_geometric():
    grid = OnGrid(grid="log_snr", sigma_min=0.01, sigma_max=10.0)
    found = ratios(Rectified(), grid.times(Rectified(), 5))
    np.testing.assert_allclose(found[1:-1], [10, 1, 0.1, 0.01], rtol=1e-9)


@pytest.mark.parametrize("grid", ["karras", "log_snr"])
def test_a_schedule_that_ends_below_sigma_max_starts_at_its_end(grid):
    table = TABLES["linear"]  # its last sigma / alpha is about 160
    found = ratios(table, OnGrid(grid=grid, sigma_max=1e4).times(table, 6))
    top, low = ratios(table, torch.tensor([1.0, 1 / 60]).double())
    assert len(found) == 7
    assert (found[0], found[-2], found[-1]) == (top, low, 0)
    even = found[:-1] ** (1 / 7) if grid == "karras" else np.log(found[:-1])
    assert np.ptp(np.diff(even)) < 0.25 * abs(even[0] - even[-1])  # up to rounding


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("grid", GRIDS)
def test_any_number_of_steps_has_a_grid_of_levels(name, grid):
    table = TABLES[name]
    for steps in range(1, table.steps + 1):
        times = OnGrid(grid=grid).times(table, steps)
        index = (times * table.steps).tolist()
        assert len(times) == steps + 1
        assert times.dtype == torch.float64
        assert all(abs(k - round(k)) < 1e-9 for k in index)
        assert (index[0], index[-1]) == (table.steps, 0)
        assert bool((times.diff() < 0).all())


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("schedule", [Rectified(), Trigonometric()])
def test_a_continuous_schedule_has_grids_of_any_number_of_steps(grid, schedule):
    for steps in (1, 2, 3, 17, 400):
        times = OnGrid(grid=grid).times(schedule, steps)
        assert len(times) == steps + 1
        assert (times[0], times[-1]) == (1, 0)
        assert bool((times.diff() < 0).all())


def test_levels_are_rounded_up_and_none_is_taken_twice():
    found = on_levels(torch.tensor([1.0, 0.81, 0.5, 0.2, 0.0]).double(), 10)
    assert (found * 10).tolist() == [10, 9, 5, 2, 0]
    low = on_levels(torch.tensor([1.0, 0.03, 0.02, 0.01, 0.0]).double(), 10)
    assert (low * 10).round().tolist() == [10, 3, 2, 1, 0]
    high = on_levels(torch.tensor([1.0, 0.999, 0.998, 0.997, 0.0]).double(), 10)
    assert (high * 10).round().tolist() == [10, 9, 8, 7, 0]


def test_rounding_to_levels_moves_a_grid_by_less_than_a_level():
    table = DiscreteSchedule(cosine_betas(1000))
    for steps in (5, 20, 50):
        times = OnGrid().times(table, steps)
        angles = np.arctan(ratios(table, times))
        wanted = angles[0] * np.arange(steps, -1, -1) / steps
        assert np.abs(angles - wanted).max() < 1.01 * math.pi / 2 / 1000


def test_how_many_steps():
    table, short = DiscreteSchedule(linear_betas(50)), DiscreteSchedule(cosine_betas(7))
    assert len(OnGrid().times(table)) == 21
    assert len(OnGrid().times(short)) == 8
    assert len(OnGrid().times(Rectified())) == 21
    assert len(OnGrid(steps=5).times(table)) == 6
    assert len(OnGrid(steps=5).times(table, 9)) == 10
    for sampler in (Ancestral(), Ddim()):
        assert torch.equal(sampler.times(table), table.times(50))
    assert torch.equal(Ddim(steps=5).times(table), table.times(5))
    assert torch.equal(Ancestral(steps=5).times(table, 9), table.times(9))
    with pytest.raises(UsageError, match=r"must lie in 1 ... 7, got 8"):
        OnGrid(steps=8).times(short)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: DpmSolver(steps=0), "DpmSolver: steps must be at least 1 or None, got 0"),
        (lambda: UniPc(grid="karass"), "UniPc: grid must be one of arctan, .* got 'karass'"),
        (lambda: Heun(rho=0.0), "Heun: rho must be above 0, got 0.0"),
        (lambda: Euler(sigma_min=5.0, sigma_max=5.0), "must rise from above 0, got 5.0 and 5.0"),
        (lambda: DpmSolver(order=3), "DpmSolver: order must be 1 or 2, got 3"),
        (lambda: UniPc(b="bh3"), "UniPc: b must be one of bh1, bh2, got 'bh3'"),
    ],
)
def test_options_out_of_range_are_refused(make, match):
    with pytest.raises(UsageError, match=match):
        make()
