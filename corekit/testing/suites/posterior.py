"""The promises of a Posterior; an encoder's suite holds them too."""

from __future__ import annotations

import math
from typing import Any

import torch

from corekit.data_spec import Support
from corekit.errors import NoDensity
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.latent.kl import closed_form_kl
from corekit.testing.case import Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.statistics import density_ratio, expect_mean

SUITE = Suite()
MANY = 20_000
FEW = 4
"""Latent dimensions up to which a density can be integrated by sampling."""


def posterior_of(case: Case) -> Posterior:
    """The posterior under test: what the factory makes, or what the encoder says of four rows."""
    if case.kind == "posterior":
        made: Posterior = case.fresh()
        return made
    encoder = case.ready()
    with torch.no_grad():
        given: Posterior = encoder(case.draw(encoder.event_shape, Support.REAL, torch.float64))
    return given


def has_density(case: Case) -> bool:
    """Whether log q(z | x) is a number."""
    return posterior_of(case).rsample_and_log_prob(_draws())[1].kind is Likelihood.EXACT


def has_entropy(case: Case) -> bool:
    """Whether it knows its entropy."""
    return has_density(case) and hasattr(posterior_of(case), "entropy")


def has_closed_form_kl(case: Case) -> bool:
    """Whether the table of pairs has it beside the standard normal."""
    q = posterior_of(case)
    return has_density(case) and closed_form_kl(q, _standard(q)) is not None


def is_small(case: Case) -> bool:
    """Whether its density can be integrated by sampling."""
    return has_density(case) and math.prod(posterior_of(case).mode.shape[1:]) <= FEW


@SUITE.check()
def samples_come_draw_by_draw(case: Case) -> None:
    """k draws are k * B rows: all rows of the first draw, then of the second, each draw new."""
    q = posterior_of(case)
    rows = len(q.mode)
    z, log_q = q.rsample_and_log_prob(_draws(), 3)
    want = (3 * rows, *q.mode.shape[1:])
    expect(tuple(z.shape) == want, f"z of 3 draws must have shape {want}, got {tuple(z.shape)}.")
    expect(
        tuple(log_q.value.shape) == (3 * rows,),
        f"log q must have shape ({3 * rows},), got {tuple(log_q.value.shape)}.",
    )
    first, second = z[:rows], z[rows : 2 * rows]
    if log_q.kind is not Likelihood.NONE:
        expect(not torch.equal(first, second), "the second draw must be new, got the first again.")
    # Far more draws than rows: the mean of row i must be near its own mode, not another row's.
    many = q.rsample_and_log_prob(_draws(), 4096)[0].reshape(4096, rows, -1)
    modes = q.mode.reshape(rows, -1)
    nearest = torch.cdist(many.mean(0), modes).argmin(1)
    blur = many.std(0).norm(dim=1).max() / 64  # what the mean of 4096 draws is off by
    distinct = torch.cdist(modes, modes).fill_diagonal_(math.inf).min() > 10 * blur + 1e-6
    expect(
        not distinct or torch.equal(nearest, torch.arange(rows)),
        f"rows must be laid out draw by draw, but the means of the rows are nearest to the modes "
        f"of rows {nearest.tolist()}. Use z.repeat(k, ...), not repeat_interleave.",
    )


@SUITE.check(has_density)
def the_density_of_a_draw_is_log_prob(case: Case) -> str:
    """log q that comes with a draw is ``log_prob`` of that draw."""
    q = posterior_of(case)
    rows, detail = len(q.mode), ""
    z, log_q = q.rsample_and_log_prob(_draws(), 2)
    for draw in (0, 1):
        which = slice(draw * rows, (draw + 1) * rows)
        detail = expect_close(
            f"log q of draw {draw}",
            log_q.value[which],
            q.log_prob(z[which]).value,
            case.how.tolerance,
            of="log_prob(z)",
        )
    return detail


@SUITE.check(is_small)
def its_density_integrates_to_one(case: Case) -> str:
    """Samples follow log_prob, constants included: E_q[u(z) / q(z)] = 1 for a density u."""
    q, detail = posterior_of(case), ""
    rows = len(q.mode)
    z, log_q = q.rsample_and_log_prob(_draws(), MANY)
    for row in range(rows):
        ratio = density_ratio(
            z.reshape(MANY, rows, -1)[:, row], log_q.value.reshape(MANY, rows)[:, row]
        )
        detail = expect_mean(f"E[u(z) / q(z)] of row {row}", ratio, 1.0, "Is a constant missing?")
    return detail


@SUITE.check(has_density)
def the_mode_is_most_probable(case: Case) -> None:
    """No draw is more probable than the mode."""
    q = posterior_of(case)
    rows = len(q.mode)
    highest = q.log_prob(q.mode).value
    _, log_q = q.rsample_and_log_prob(_draws(), 64)
    better = log_q.value.reshape(64, rows) > highest + 1e-9
    expect(
        not bool(better.any()), f"{int(better.sum())} of {better.numel()} draws are more probable."
    )


@SUITE.check(has_entropy)
def the_entropy_equals_monte_carlo(case: Case) -> str:
    """``entropy`` is -E[log q(z)]."""
    q: Any = posterior_of(case)
    rows, detail = len(q.mode), ""
    _, log_q = q.rsample_and_log_prob(_draws(), MANY)
    for row, want in enumerate(q.entropy().tolist()):
        values = -log_q.value.reshape(MANY, rows)[:, row]
        detail = expect_mean(f"-E[log q] of row {row} (the entropy)", values, want)
    return detail


@SUITE.check(has_closed_form_kl)
def the_closed_form_kl_equals_monte_carlo(case: Case) -> str:
    """KL(q || N(0, I)) of the table of pairs is E[log q(z) - log p(z)]."""
    q, detail = posterior_of(case), ""
    prior, rows = _standard(q), len(q.mode)
    z, log_q = q.rsample_and_log_prob(_draws(), MANY)
    difference = (log_q.value - prior.log_prob(z).value).reshape(MANY, rows)
    exact = closed_form_kl(q, prior)
    if exact is None:
        raise CheckFailed("there is no closed form")
    for row, want in enumerate(exact.tolist()):
        detail = expect_mean(
            f"E[log q - log p] of row {row} (the KL)",
            difference[:, row],
            want,
            "Is a half, a minus one, or an axis of the sum missing in the closed form?",
        )
    return detail


@SUITE.check(lambda case: not has_density(case))
def a_density_that_is_not_there_is_refused(case: Case) -> None:
    """Without a density, log_prob raises NoDensity."""
    q = posterior_of(case)
    try:
        q.log_prob(q.mode)
    except NoDensity:
        return
    raise CheckFailed(
        "log_prob must raise NoDensity where the kind is 'none', but it gave a number."
    )


@SUITE.check()
def draws_decide_its_samples(case: Case) -> None:
    """The same draws give the same sample, others another; the global generator is left alone."""
    q = posterior_of(case)
    state = torch.get_rng_state()
    first, again, other = (q.rsample_and_log_prob(_draws(seed))[0] for seed in (0, 0, 1))
    expect_equal("the same draws must give the same z, but it differs", again, first)
    expect_equal(
        "torch's global random state must be left alone, but it moved",
        torch.get_rng_state(),
        state,
        "Draw with draws.normal(name, shape, like).",
    )
    if has_density(case):
        expect(not torch.equal(first, other), "other draws must give another z, got the same.")


@SUITE.check()
def its_statistics_are_numbers(case: Case) -> None:
    """``statistics`` gives scalars without a gradient, ready for the log."""
    for name, value in posterior_of(case).statistics().items():
        scalar = value.ndim == 0 and not value.requires_grad and bool(value.isfinite())
        expect(scalar, f"statistic {name} must be a finite, detached scalar, got {value!r}.")


def _draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def _standard(q: Posterior) -> StandardNormal:
    return StandardNormal(tuple(q.mode.shape[1:])).to(q.mode.dtype)
