r"""Which levels a sampler visits.

A grid of N steps starts at the noisiest level of a schedule and ends at clean data. Between them
its N - 1 levels lie, with :math:`r = \sigma / \alpha`,

- ``arctan``: evenly in :math:`\arctan r`. Steps are dense where data show, whatever the schedule,
  and its two ends, r = infinity and r = 0, are ordinary points
- ``even``: evenly in time, as training drew them
- ``karras``: evenly in :math:`r^{1/\rho}`, from sigma_max to sigma_min
- ``log_snr``: evenly in :math:`\log r`, from sigma_max to sigma_min: ``karras`` with rho = infinity

The last two go from the noisiest level to sigma_max in their first step, unless the schedule ends
below it: above, a network sees little but the mean of the data, and a schedule may end as far as
20000 (cosine), or infinity. Neither goes below the lowest level of a table.

Level t of a table of T stands for the times in (t/T, (t + 1)/T]: there grids are rounded up, and no
level is taken twice. So a network is asked only at the integer steps that it was trained on, and
solvers know the exact level of each.

Source: Karras et al., Elucidating the Design Space of Diffusion-Based Generative Models, NeurIPS
    2022, eq. 5, https://arxiv.org/abs/2206.00364; log_snr: Lu et al., DPM-Solver, NeurIPS 2022,
    sec. 3.4, https://arxiv.org/abs/2206.00927.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule, Table

GridName = Literal["arctan", "even", "karras", "log_snr"]

NOISE = 10.0
"""From this sigma / alpha on, nearly all that can be said of data of unit size is their mean."""

STEPS = 20
"""Of a solver, unless told otherwise; fewer where a table has fewer levels."""


@dataclass(frozen=True)
class OnGrid:
    """What deterministic solvers have in common: a grid, and that they draw nothing.

    Args:
        steps: How many; None for 20, or all levels of a table that has fewer.
        grid: Which levels are visited: arctan, even, karras, log_snr.
        rho: Of the karras grid: the higher, the denser it is near the data.
        sigma_min, sigma_max: Lowest and highest sigma / alpha of the karras and log_snr grids.
    """

    steps: int | None = None
    grid: GridName = "arctan"
    rho: float = 7.0
    sigma_min: float = 0.002
    sigma_max: float = NOISE
    noise_share: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        who = type(self).__name__
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"{who}: steps must be at least 1 or None, got {self.steps}.")
        if self.grid not in get_args(GridName):
            known = ", ".join(get_args(GridName))
            raise UsageError(f"{who}: grid must be one of {known}, got {self.grid!r}.")
        if self.rho <= 0:
            raise UsageError(f"{who}: rho must be above 0, got {self.rho}.")
        if not 0 < self.sigma_min < self.sigma_max:
            raise UsageError(
                f"{who}: sigma_min and sigma_max must rise from above 0, got {self.sigma_min} "
                f"and {self.sigma_max}."
            )

    def times(self, schedule: NoiseSchedule, steps: int | None = None) -> Tensor:
        """``steps + 1`` times from the noisiest level to data; its own number unless given."""
        table = isinstance(schedule, DiscreteSchedule)
        steps = steps or self.steps or (min(STEPS, schedule.default_steps) if table else STEPS)
        even = schedule.times(steps)  # which refuses more steps than a table has levels
        if self.grid == "even" or steps == 1:
            return even
        top, end = _ratio(schedule, 1.0), _ratio(schedule, 0.0)  # end: 0, or a little noise
        if self.grid == "arctan":
            low, share = math.atan(end), np.arange(steps - 1, 0, -1) / steps
            ratios = np.tan(low + (math.atan(top) - low) * share)
        elif end >= self.sigma_min:
            ratios = self._ratios(steps + 1, top, end)[:-1]  # the lowest is the end itself
        else:
            floor = _ratio(schedule, 1 / schedule.default_steps) if table else 0.0
            ratios = self._ratios(steps, top, floor)
        between = schedule.time_of(torch.as_tensor(-2 * np.log(ratios)))
        times = torch.cat((even[:1], between, even[-1:]))
        return on_levels(times, schedule.default_steps) if table else times

    def _ratios(self, steps: int, top: float, floor: float) -> Table:
        """The sigma / alpha between the ends of a karras or log_snr grid, ``(steps - 1,)``."""
        above = top > self.sigma_max
        high, points = min(top, self.sigma_max), steps - 1 if above else steps
        low = min(max(self.sigma_min, floor), high)
        if self.grid == "log_snr":
            ratios = np.geomspace(high, low, points)
        else:
            ratios = np.linspace(high ** (1 / self.rho), low ** (1 / self.rho), points) ** self.rho
        return ratios if above else ratios[1:]


def on_levels(times: Tensor, levels: int) -> Tensor:
    """The times of a table of T levels that given ones are rounded up to, no two the same.

    Args:
        times: Decreasing from 1 to 0, at most T + 1 of them.
        levels: T.
    """
    index = (times * levels - 1e-6).ceil().long().tolist()  # 1e-6: what is a level stays one
    last = len(index) - 1
    for i in range(last - 1, 0, -1):  # from the data up: room for each that follows
        index[i] = max(index[i], index[i + 1] + 1)
    for i in range(1, last):  # and from the noise down
        index[i] = min(index[i], index[i - 1] - 1)
    return torch.tensor(index, dtype=torch.float64) / levels


def _ratio(schedule: NoiseSchedule, time: float) -> float:
    """sigma / alpha at a time; infinite for pure noise."""
    level = schedule.at(torch.tensor([time], dtype=torch.float64))
    return (level.sigma / level.alpha).item()
