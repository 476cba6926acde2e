"""What samplers are tried with: Gaussian data that an oracle denoises, and scripted noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import CorekitError
from corekit.interfaces.draws import Draws, Randomness
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.interfaces.sampler import Callback, Predict, Sampler
from corekit.testing.check import expect
from corekit.testing.oracle import GaussianOracle, Trigonometric

MEAN = torch.tensor([0.3, -1.0], dtype=torch.float64, device="cpu")
VARIANCES = torch.tensor([0.25, 2.0], dtype=torch.float64, device="cpu")
ORACLE = GaussianOracle(MEAN, VARIANCES)


class Scripted(Draws):
    """Normal numbers that are ``value`` everywhere, but 1 in row i + 1 of draw i if asked.

    Args:
        value: Of every number.
        units: Add the ones; draw i is the i-th call, counted from 0.
    """

    def __init__(self, value: float = 0.0, *, units: bool = False) -> None:
        super().__init__()
        self.value, self.units = value, units
        self.names: list[str] = []

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """The scripted numbers of the next draw."""
        numbers = like.new_full(shape, self.value)
        if self.units:
            numbers[len(self.names) + 1] = 1.0
        self.names.append(name)
        return numbers


@cache
def candidates() -> dict[str, NoiseSchedule]:
    """A schedule of each kind: variance-preserving, rectified, and a fine table."""
    return {
        "trigonometric": Trigonometric(),
        "rectified": Rectified(),
        "discrete": DiscreteSchedule(cosine_betas(4096)),
    }


@cache
def tables() -> dict[str, NoiseSchedule]:
    """Short tables, one of them with nothing left of the data at its end."""
    linear = linear_betas(24)
    return {
        "linear": DiscreteSchedule(linear),
        "cosine": DiscreteSchedule(cosine_betas(24)),
        "zero terminal SNR": DiscreteSchedule(rescale_zero_terminal_snr(linear)),
    }


def taken(sampler: Sampler) -> dict[str, NoiseSchedule]:
    """The schedules that a sampler does not refuse, by name."""
    found = {}
    for name, schedule in candidates().items():
        try:
            sample(sampler, schedule, MEAN[None], 2)
        except CorekitError:
            continue
        found[name] = schedule
    expect(bool(found), f"it must take one of these schedules: {', '.join(candidates())}.")
    return found


def sample(
    sampler: Sampler,
    schedule: NoiseSchedule,
    x_T: Tensor,
    steps: int,
    draws: Randomness = None,
    *,
    predict: Predict = ORACLE.predict,
    callback: Callback | None = None,
) -> Tensor:
    """Samples of the oracle's Gaussian, in so many steps; without noise unless draws are given."""
    draws = Scripted() if draws is None else draws
    times = schedule.times(steps)
    return sampler(predict, schedule, x_T, times=times, generator=draws, callback=callback)


def normal(*shape: int) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(shape, dtype=torch.float64)


def level_at(schedule: NoiseSchedule, time: float) -> NoiseLevel:
    """One level, ``(1,)``, float64."""
    return schedule.at(torch.tensor([time], dtype=torch.float64))


def flow_error(sampler: Sampler, schedule: NoiseSchedule, steps: int) -> float:
    """Distance of the end points from those of the exact probability flow, root mean square."""
    x_T = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = ORACLE.flow(x_T, level_at(schedule, 1.0), level_at(schedule, 0.0))
    return (sample(sampler, schedule, x_T, steps) - exact).square().mean().sqrt().item()


def inner_error(sampler: Sampler, schedule: NoiseSchedule, steps: int) -> float:
    """The same from time 7/8 to 1/8, away from both ends; all are times of the fine table."""
    x_T = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    times = torch.linspace(0.875, 0.125, steps + 1, dtype=torch.float64)
    seen: list[Tensor] = []
    sampler(
        ORACLE.predict,
        schedule,
        x_T,
        times=torch.cat((times, torch.zeros(1, dtype=torch.float64))),
        generator=Scripted(),
        callback=lambda done, x, prediction: seen.append(x),
    )
    expect(len(seen) == steps + 1, "the callback must be called after each step.")
    exact = ORACLE.flow(x_T, level_at(schedule, 0.875), level_at(schedule, 0.125))
    return (seen[-2] - exact).square().mean().sqrt().item()


def marginal_error(sampler: Sampler, schedule: NoiseSchedule, steps: int) -> float:
    """Distance of mean and variance of the samples from those of the data.

    For Gaussian data a sampler is an affine map of x_T and of its noise, coordinate by coordinate,
    so both are known without Monte Carlo: row 0 has no noise, row i a unit of noise in draw i - 1
    and the last one in x_T.
    """
    still = Scripted()
    sample(sampler, schedule, MEAN[None], steps, still)
    mean, covariance = ORACLE.marginal(level_at(schedule, 1.0))
    x_T = mean.expand(len(still.names) + 2, -1).clone()
    x_T[-1] += covariance.diagonal().sqrt()
    x = sample(sampler, schedule, x_T, steps, Scripted(units=True))
    variance = (x[1:] - x[0]).square().sum(0)
    return ((x[0] - MEAN).abs() + (variance - VARIANCES).abs()).mean().item()


def one_step(
    sampler: Sampler,
    schedule: NoiseSchedule,
    at: tuple[float, float],
    x_t: Tensor,
    x_0: Tensor,
    noise: float,
) -> Tensor:
    """x_s after one step from time t to time s, of a network that always says x_0."""

    def predict(x: Tensor, level: NoiseLevel) -> Prediction:
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        return Prediction(x_0, (x - alpha * x_0) / sigma)

    seen: list[Tensor] = []
    sampler(
        predict,
        schedule,
        x_t,
        times=torch.tensor([*at, 0.0], dtype=torch.float64),
        generator=Scripted(noise),
        callback=lambda done, x, prediction: seen.append(x),
    )
    expect(bool(seen), "the callback must be called after each step, got no call.")
    return seen[0]


def order_of(steps: Sequence[int], errors: Sequence[float]) -> float:
    """Minus the slope of log error over log steps; infinite where there is no error to speak of."""
    if max(errors) < 1e-10:
        return math.inf
    x, y = (torch.tensor(v, dtype=torch.float64).log() for v in (steps, errors))
    return -((x - x.mean()) * (y - y.mean())).sum().item() / (x - x.mean()).square().sum().item()
