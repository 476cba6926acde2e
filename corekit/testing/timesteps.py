"""What timestep samplers are tried with: schedules, random numbers, and averages over time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from corekit.data_spec import Shape
from corekit.diffusion.schedules import Rectified, linear_betas
from corekit.errors import CorekitError
from corekit.interfaces.draws import Draws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.testing.check import expect
from corekit.testing.oracle import Trigonometric

CPU = torch.device("cpu")
ERRORS = 5.0
"""Standard errors that an average may be away from the truth."""

BATCHES, ROWS = 1000, 64

# Of each kind of schedule the first that the sampler takes: it may be made for one number of steps.
SCHEDULES: dict[str, tuple[NoiseSchedule, ...]] = {
    "discrete": tuple(DiscreteSchedule(linear_betas(steps)) for steps in (40, 1000)),
    "continuous": (Rectified(), Trigonometric()),
}


def _bump(at: float, time: Tensor) -> Tensor:
    return torch.exp(-((time - at) ** 2) / 0.005)


# What is averaged over time; a bias shows in at least one of them.
AVERAGED: dict[str, Callable[[Tensor], Tensor]] = {
    "1": torch.ones_like,
    "time": lambda time: time,
    "cos(2 pi time)": lambda time: torch.cos(2 * math.pi * time),
    **{f"a bump at time {at:g}": partial(_bump, at) for at in (0.0, 0.25, 0.5, 0.75, 1.0)},
}


class Extreme(Draws):
    """The smallest or the largest number that each draw can give."""

    def __init__(self, *, high: bool) -> None:
        super().__init__()
        self.high = high

    def normal(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """As far out as float32 gets with a uniform number of 24 bits."""
        return like.new_full(shape, 5.5 if self.high else -5.5)

    def uniform(self, name: str, shape: Shape, like: Tensor) -> Tensor:
        """0, or the largest float32 below 1."""
        return like.new_full(shape, 1 - 2**-24 if self.high else 0.0)

    def integers(self, name: str, high: int, shape: Shape, device: torch.device) -> Tensor:
        """0 or high - 1."""
        value = high - 1 if self.high else 0
        return torch.full(shape, value, dtype=torch.int64, device=device)


def seeded(seed: int) -> Draws:
    """Random numbers of one generator."""
    return Draws(torch.Generator().manual_seed(seed))


def taken(part: TimestepSampler) -> dict[str, NoiseSchedule]:
    """The schedules that a sampler does not refuse, by name."""
    found = {}
    for name, candidates in SCHEDULES.items():
        for schedule in candidates:
            try:
                part.sample(2, schedule, seeded(0), CPU)
            except CorekitError:
                continue
            found[name] = schedule
            break
    expect(
        bool(found),
        "it must take a table of levels or a continuous schedule, got an error for 40 levels, for "
        "1000, for rectified flow and for a trigonometric schedule.",
    )
    return found


def teach(part: TimestepSampler) -> None:
    """Losses that grow ninefold from data to noise, twelve times for every level."""
    for schedule in taken(part).values():
        steps = schedule.steps if isinstance(schedule, DiscreteSchedule) else 256
        level = schedule.at((torch.arange(steps) + 1) / steps)
        t = level.time if level.step is None else level.step
        for _ in range(12):
            part.observe(t, 1 + 8 * level.time.square())


def many(part: TimestepSampler, schedule: NoiseSchedule, world: int = 1) -> tuple[Tensor, Tensor]:
    """Times and weights of many batches, ``(BATCHES, rows)``, float64."""
    generators = [seeded(rank) for rank in range(world)]
    times, weights = [], []
    for _ in range(BATCHES):
        for rank, draws in enumerate(generators):
            level, weight = part.sample(ROWS, schedule, draws, CPU, rank=rank, world=world)
            times.append(level.time)
            weights.append(torch.ones_like(level.time) if weight is None else weight)
    shape = (BATCHES, world * ROWS)
    return torch.stack(times).double().reshape(shape), torch.stack(weights).double().reshape(shape)


def expect_unbiased(part: TimestepSampler, when: str, world: int = 1) -> str:
    """Fail unless E[weight * f(time)] is the mean of f over uniform levels, for every f."""
    worst = 0.0
    for name, schedule in taken(part).items():
        time, weight = many(part, schedule, world)
        steps = schedule.steps if isinstance(schedule, DiscreteSchedule) else 20_000
        offset = 1.0 if name == "discrete" else 0.5  # level t lies at (t + 1) / T; midpoint rule
        grid = (torch.arange(steps, dtype=torch.float64) + offset) / steps
        for what, function in AVERAGED.items():
            # Rows of a batch may depend on each other (a stratified draw): its mean is one number.
            means = (weight * function(time)).mean(1)
            got, want = means.mean().item(), function(grid).mean().item()
            error = means.std().item() / math.sqrt(BATCHES) + 1e-7
            worst = max(worst, abs(got - want) / error)
            expect(
                abs(got - want) <= ERRORS * error,
                f"E[weight * ({what})]{when} must be {want:.5g}, its mean over uniform levels, got "
                f"{got:.5g} +- {error:.1g} ({name} schedule, {time.numel()} draws). A level drawn "
                "with probability p of T levels has the weight 1 / (T p).",
            )
    return f"at most {worst:.1f} standard errors off"
