"""The promises of a sampler: its claims against exact Gaussian data, and what it leaves alone."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable

import torch

from corekit.diffusion.process import q_posterior_mean_variance
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.sampler import Sampler
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.sampling import (
    Scripted,
    flow_error,
    inner_error,
    level_at,
    marginal_error,
    normal,
    one_step,
    order_of,
    sample,
    taken,
)
from corekit.testing.suites.sampler_loop import LOOP

SHORT = 0.2
"""How far the measured order may fall short of the claim."""

SUITE = Suite()


def is_deterministic(case: Case) -> bool:
    """Whether it claims to draw nothing."""
    return getattr(case.part, "noise_share", None) == 0


def is_stochastic(case: Case) -> bool:
    """Whether it draws noise."""
    return not is_deterministic(case)


def claims_a_share(case: Case) -> bool:
    """Whether it claims how much noise a step draws."""
    return getattr(case.part, "noise_share", None) is not None


@SUITE.check()
def it_says_what_it_claims(case: Case) -> str:
    """It names its order (1 or more), steps (None, or as its spec says), noise share and times."""
    part = case.fresh()
    names = ("order", "steps", "noise_share", "times")
    missing = [name for name in names if not hasattr(part, name)]
    expect(
        not missing,
        f"it must have the attributes order, steps, noise_share and times, got none called "
        f"{', '.join(missing)}. See corekit.interfaces.sampler.Sampler.",
    )
    order, steps, share = part.order, part.steps, part.noise_share
    expect(isinstance(order, int) and order >= 1, f"order must be 1, 2, ..., got {order!r}.")
    fine = steps is None or (isinstance(steps, int) and steps >= 1)
    expect(fine, f"steps must be None or at least 1, got {steps!r}.")
    fine = share is None or 0 <= share <= 1
    expect(fine, f"noise_share must be None or lie in [0, 1], got {share!r}.")
    wanted = getattr(case.spec, "steps", steps)
    expect(steps == wanted, f"steps must be {wanted} as its spec says, got {steps!r}.")
    return f"order {order}, noise share {share}"


@SUITE.check(is_deterministic)
def the_error_falls_as_claimed(case: Case) -> str:
    """Away from both ends it converges to the probability flow like steps to minus the order."""
    return _expect_order(case, "path", inner_error, (32, 64, 128, 256))


@SUITE.check(is_deterministic)
def the_end_point_converges_as_claimed(case: Case) -> str:
    """So does the end point, from pure noise to data, for orders up to 2; up to a logarithm.

    In log-SNR both ends are infinitely far: where steps are even in time, about 1/i^3 of the error
    of a method of order 2 comes from the i-th step, times i^2, which sums to the logarithm.
    Continuous schedules only: the first and the last step of a table do not shrink.
    """

    def without_logarithm(part: Sampler, schedule: NoiseSchedule, steps: int) -> float:
        return flow_error(part, schedule, steps) / (math.log(steps) if part.order > 1 else 1)

    return _expect_order(case, "end point", without_logarithm, (64, 128, 256, 512), tables=False)


@SUITE.check(is_stochastic)
def the_marginals_converge_as_claimed(case: Case) -> str:
    """Mean and variance of the samples converge to those of the data like steps to minus the order.

    They are known exactly, as Gaussian data make a sampler an affine map of its noise.
    """
    return _expect_order(case, "mean and variance", marginal_error, (32, 64, 128))


@SUITE.check(claims_a_share)
def a_step_draws_the_claimed_share_of_the_posterior(case: Case) -> str:
    """A step adds noise_share times the standard deviation of q(x_s | x_t, x_0), Bayes' formula.

    With a share of 1 its mean is that of q as well. Marginals do not see this.
    """
    part, detail = case.fresh(), ""
    share = part.noise_share
    x_t, x_0 = normal(3, 2), normal(3, 2)
    for name, schedule in taken(part).items():
        for at in ((1.0, 0.5), (0.5, 0.25), (0.125, 0.0625)):
            still, moved = (one_step(part, schedule, at, x_t, x_0, noise) for noise in (0.0, 1.0))
            mean, variance = q_posterior_mean_variance(
                x_0, x_t, *(level_at(schedule, time) for time in at)
            )
            where = f"a step from time {at[0]} to {at[1]} ({name} schedule)"
            detail = expect_close(
                f"the standard deviation of {where}",
                moved - still,
                (share * variance.sqrt()).expand(3, 2),
                1e-9,
                of=f"{share} times that of q(x_s | x_t, x_0)",
                hint="Is it a variance where a standard deviation belongs? If the amount is "
                "another one by design, let noise_share be None.",
            )
            if share == 1:
                expect_close(f"the mean of {where}", still, mean, 1e-9, of="that of q")
    return detail


@SUITE.check()
def it_draws_noise_or_nothing(case: Case) -> str:
    """With a noise share of 0 it draws nothing, else only numbers called "noise"."""
    part = case.fresh()
    names = set()
    for schedule in taken(part).values():
        draws = Scripted()
        sample(part, schedule, normal(2, 2), 4, draws)
        names |= set(draws.names)
        want = set() if is_deterministic(case) else {"noise"}
        expect(
            set(draws.names) == want,
            f"it must draw {sorted(want) or 'nothing'} at a noise share of {part.noise_share}, got "
            f"draws called {sorted(set(draws.names))}. Use draws.normal('noise', shape, x).",
        )
    return f"draws {sorted(names) or 'nothing'}"


@SUITE.check()
def the_draws_alone_decide(case: Case) -> None:
    """The same generator gives the same samples, and torch's global one is left alone."""
    part, x_T = case.fresh(), normal(3, 2)
    for schedule in taken(part).values():
        state = torch.get_rng_state()
        first, again, other = (
            sample(part, schedule, x_T, 6, torch.Generator().manual_seed(seed))
            for seed in (0, 0, 1)
        )
        expect_equal(
            "torch's global random state must be left alone, but it moved",
            torch.get_rng_state(),
            state,
            "Draw from as_draws(generator).",
        )
        expect_equal("the same generator must give the same samples", first, again)
        expect(
            torch.equal(first, other) == is_deterministic(case),
            "another generator must give other samples if, and only if, noise_share is not 0.",
        )


@SUITE.check()
def rows_do_not_mix(case: Case) -> None:
    """A row is the same in any batch, if it has a generator of its own."""
    part = case.fresh()
    x_T = normal(4, 2)
    for schedule in taken(part).values():
        whole = sample(part, schedule, x_T, 6, RowDraws(5, range(4)))
        for rows in ([0], [3, 1]):
            some = sample(part, schedule, x_T[rows], 6, RowDraws(5, rows))
            expect_close(
                f"rows {rows} beside {len(rows) - 1} others",
                some,
                whole[rows],
                1e-12,
                of="those of the whole batch",
                hint="Nothing may be computed over the batch axis: a step size, a norm.",
            )


@SUITE.check()
def it_keeps_nothing_between_runs(case: Case) -> None:
    """A run, another one and the first again: the same samples; a pickled or copied one too."""
    part = case.fresh()
    for schedule in taken(part).values():
        x_T = normal(3, 2)
        first = sample(part, schedule, x_T, 6, RowDraws(0, range(3)))
        sample(part, schedule, 1 - x_T, 5, RowDraws(1, range(3)))
        pickled = pickle.loads(pickle.dumps(part))
        for what, other in (
            ("after another run", part),
            ("of a pickled sampler", pickled),
            ("of a copied sampler", copy.deepcopy(part)),
        ):
            again = sample(other, schedule, x_T, 6, RowDraws(0, range(3)))
            expect_equal(
                f"the samples {what} must be the same, but they differ",
                again,
                first,
                "A sampler is a frozen object: what a run needs to remember is a local variable.",
            )


def _expect_order(
    case: Case,
    what: str,
    error_of: Callable[[Sampler, NoiseSchedule, int], float],
    steps: tuple[int, ...],
    *,
    tables: bool = True,
) -> str:
    part, details = case.fresh(), []
    claim = part.order if tables else min(part.order, 2)
    for name, schedule in taken(part).items():
        if isinstance(schedule, DiscreteSchedule) and not tables:
            continue
        errors = [error_of(part, schedule, n) for n in steps]
        order = order_of(steps, errors)
        expect(
            order >= claim - SHORT,  # NaN fails
            f"the error of the {what} must fall like steps^-{claim}, got steps^-{order:.2f} "
            f"({', '.join(f'{e:.2g}' for e in errors)} at {', '.join(map(str, steps))} steps, "
            f"{name} schedule). Does it converge to something else, or of a lower order?",
        )
        details.append(f"{name} {order:.2f}")
    return f"orders: {', '.join(details)}"


SUITE.checks += LOOP.checks
