"""The further promises of a DiscreteSchedule: its tables, its integers, and the step between two.

They are part of the suite of noise schedules.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from corekit.diffusion.process import transition
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.refusal import expect_refused

DISCRETE = Suite()


def is_discrete(case: Case) -> bool:
    """Whether it is a table of levels."""
    return isinstance(case.part, DiscreteSchedule)


def fields_of(level: NoiseLevel) -> dict[str, Tensor]:
    """The fields of a level that the schedule gives."""
    return level.columns


@DISCRETE.check(is_discrete)
def betas_lie_between_zero_and_one(case: Case) -> str:
    """0 < beta < 1 in float64; the last may be 1, if nothing of the data is to be left."""
    betas = case.part.betas
    expect(
        betas.dtype == np.float64 and betas.shape == (case.part.steps,),
        f"betas must be T = {case.part.steps} float64 numbers, got {betas.dtype} of shape "
        f"{betas.shape}.",
    )
    expect(
        bool(np.all(betas > 0) and np.all(betas[:-1] < 1) and betas[-1] <= 1),
        f"betas must lie between 0 and 1 (the last may be 1), got {betas.min()} ... {betas.max()}.",
    )
    return f"{betas[0]:.3g} ... {betas[-1]:.3g}"


@DISCRETE.check(is_discrete)
def alphas_cumprod_is_the_product_of_one_minus_beta(case: Case) -> str:
    """alphas_cumprod[t] is the product of 1 - beta_s over s = 0 ... t, and prev one step before."""
    part: DiscreteSchedule = case.part
    products = [1.0]
    for beta in part.betas:
        products.append(products[-1] * (1 - beta))
    want = torch.tensor(products, dtype=torch.float64)
    prev = torch.as_tensor(part.alphas_cumprod_prev)
    expect_close("alphas_cumprod_prev", prev, want[:-1], 1e-12, of="the product up to t - 1")
    got = torch.as_tensor(part.alphas_cumprod)
    return expect_close("alphas_cumprod", got, want[1:], 1e-12, of="the product up to t")


@DISCRETE.check(is_discrete)
def level_t_is_at_time_t_plus_one(case: Case) -> None:
    """Integer t = 0 ... T-1 has alphas_cumprod[t] and lies at time (t + 1) / T: none is skipped."""
    schedule: DiscreteSchedule = case.fresh()
    t = torch.arange(schedule.steps)
    level, product = schedule.level(t), torch.as_tensor(schedule.alphas_cumprod)
    expect_close(
        "alpha^2 of level t",
        level.alpha.square(),
        product,
        1e-6,
        of="alphas_cumprod[t]",
        hint="It is off by one: t = 0 is the first noisy level, and clean data have no t.",
    )
    expect_close("sigma^2 of level t", level.sigma.square(), 1 - product, 1e-6)
    steps = torch.as_tensor(schedule.original)
    got = fields_of(level)
    expect_equal("step of level t must be the original integer, but it differs", got["step"], steps)
    at = schedule.at((t + 1).double() / schedule.steps)
    for name, value in fields_of(at).items():
        there = value.isfinite()
        of = f"that at time (t + 1) / T = {(t[0] + 1).item()} / {schedule.steps} ..."
        expect_close(f"{name} of level t", got[name][there], value[there], 1e-6, of=of)


@DISCRETE.check(is_discrete)
def the_posterior_is_that_of_bayes(case: Case) -> str:
    """q(x_s | x_t, x_0) of two levels is Bayes' formula for the chain that the betas make."""
    schedule: DiscreteSchedule = case.fresh()
    T = schedule.steps
    pairs = {(t, s) for t in (2, T // 2, T) for s in (t - 1, t // 2) if 1 <= s < t <= T}
    grid = schedule.at(torch.arange(T + 1, dtype=torch.float64) / T)
    for t, s in sorted(pairs):
        from_x_t, from_x_0, variance = _bayes(schedule, t, s)
        got = transition(*(grid.map(lambda column, k=k: column[k : k + 1]) for k in (t, s)))
        for name, value, want in (
            ("weight of x_t", got.from_x_t, from_x_t),
            ("weight of x_0", got.from_x_0, from_x_0),
            ("variance", got.variance, variance),
        ):
            what = f"the {name} in q(x_s | x_t, x_0), t = {t - 1} and s = {s - 1},"
            expect_close(what, value, torch.full_like(value, want), 1e-9, of="that of Bayes")
    table = torch.as_tensor(schedule.posterior_variance)
    bayes = torch.tensor(
        [0.0, *(_bayes(schedule, t, t - 1)[2] for t in range(2, T + 1))], dtype=torch.float64
    )
    ratio = torch.where(bayes > 0, table / bayes, table + 1)
    return expect_close("posterior_variance / that of Bayes", ratio, torch.ones(T), 1e-8, of="1")


@DISCRETE.check(is_discrete)
def respacing_keeps_the_levels(case: Case) -> None:
    """A schedule of some of its levels has the same noise there, and knows the original t."""
    schedule: DiscreteSchedule = case.fresh()
    T = schedule.steps
    kept = torch.tensor(sorted({0, T // 3, T // 2, T - 1}))
    short = schedule.respace(kept.tolist())
    full, few = (
        fields_of(of.level(t)) for of, t in ((schedule, kept), (short, torch.arange(len(kept))))
    )
    for name in ("alpha", "sigma"):
        expect_close(f"{name} of a respaced level", few[name], full[name], 1e-6, of="the original")
    expect_equal("step of a respaced level must be the original t", few["step"], full["step"])
    again = fields_of(short.respace([len(kept) - 1]).level(torch.tensor([0])))
    expect_equal("step of a level respaced twice must be so", again["step"], full["step"][-1:])
    expect_refused("a respaced step T", lambda: schedule.respace([T]), UsageError)


def _bayes(schedule: DiscreteSchedule, t: int, s: int) -> tuple[float, float, float]:
    """Weights of x_t and x_0, and variance: two Gaussians in x_s, whose precisions add.

    Levels are counted from clean data, 0 ... T. q(x_s | x_0) and q(x_t | x_s) are built from the
    betas one by one.
    """
    scale, added = [1.0, 1.0], [0.0, 0.0]  # of x_s given x_0, and of x_t given x_s
    for part, (start, stop) in enumerate(pairwise((0, s, t))):
        for beta in schedule.betas[start:stop].tolist():
            scale[part] *= math.sqrt(1 - beta)
            added[part] = (1 - beta) * added[part] + beta
    precision = 1 / added[0] + scale[1] ** 2 / added[1]
    return scale[1] / added[1] / precision, scale[0] / added[0] / precision, 1 / precision
