"""The promises of a Posterior; an encoder's suite holds them too."""

from __future__ import annotations

import math
from typing import Any

import torch

from corekit.data_spec import Support
from corekit.errors import NoDensity
from corekit.interfaces.density import Prior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.posterior import Posterior
from corekit.interfaces.posterior_head import PosteriorHead
from corekit.latent.kl import CLOSED_FORMS, OF_ELEMENTS, closed_form_kl
from corekit.testing.case import Case, redraw
from corekit.testing.check import CheckFailed, Suite, expect, expect_close, expect_equal
from corekit.testing.statistics import density_ratio, expect_mean, sphere_ratio

PROMISES = Suite()
"""Of a posterior, whoever makes it."""
MANY = 20_000
FEW = 4
"""Latent dimensions up to which a density can be integrated by sampling."""


def posterior_of(case: Case) -> Posterior:
    """The posterior under test: what the factory makes, or what it says of four rows.

    The factory may make a posterior, a head (of features), or an encoder (of data).
    """
    if case.kind == "posterior" and not is_head(case):
        made: Posterior = case.fresh()
        return made
    part = case.ready()
    with torch.no_grad():
        shape = part.feature_shape if is_head(case) else part.event_shape
        given: Posterior = part(case.draw(shape, Support.REAL, torch.float64))
    return given


def is_head(case: Case) -> bool:
    """Whether it is the last layer of an encoder."""
    return isinstance(case.part, PosteriorHead)


def support_of(case: Case) -> Support:
    """Where z lies."""
    lies: Support = getattr(case.part, "latent_support", Support.REAL)
    return lies


def has_density(case: Case) -> bool:
    """Whether log q(z | x) is a number."""
    return posterior_of(case).rsample_and_log_prob(_draws())[1].kind is Likelihood.EXACT


def has_entropy(case: Case) -> bool:
    """Whether it knows its entropy."""
    return has_density(case) and hasattr(posterior_of(case), "entropy")


def has_closed_form_kl(case: Case) -> bool:
    """Whether a table of pairs has it."""
    return has_density(case) and bool(_known_priors(posterior_of(case)))


def has_exact_mode(case: Case) -> bool:
    """Whether its mode is the most probable latent."""
    return has_density(case) and posterior_of(case).exact_mode


def has_detached(case: Case) -> bool:
    """Whether it can be taken apart from what made it."""
    return type(posterior_of(case)).detached is not Posterior.detached


def has_repeated(case: Case) -> bool:
    """Whether it can be repeated."""
    return type(posterior_of(case)).repeated is not Posterior.repeated


def has_stored(case: Case) -> bool:
    """Whether it can be kept."""
    return type(posterior_of(case)).stored is not Posterior.stored


def is_small(case: Case) -> bool:
    """Whether its density can be integrated by sampling."""
    size = math.prod(posterior_of(case).mode.shape[1:])
    known = support_of(case) in (Support.REAL, Support.SPHERE)
    return has_density(case) and known and size <= FEW


@PROMISES.check()
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
    if not q.exact_mode:
        return  # the density of a draw tells
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


@PROMISES.check(has_density)
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


@PROMISES.check(is_small)
def its_density_integrates_to_one(case: Case) -> str:
    """Samples follow log_prob, constants included: E_q[u(z) / q(z)] = 1 for a density u."""
    q, detail = posterior_of(case), ""
    rows = len(q.mode)
    z, log_q = q.rsample_and_log_prob(_draws(), MANY)
    for row in range(rows):
        found, density = z.reshape(MANY, rows, -1)[:, row], log_q.value.reshape(MANY, rows)[:, row]
        sphere = support_of(case) is Support.SPHERE
        ratio = sphere_ratio(found, density) if sphere else density_ratio(found, density)
        detail = expect_mean(f"E[u(z) / q(z)] of row {row}", ratio, 1.0, "Is a constant missing?")
    return detail


@PROMISES.check(has_exact_mode)
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


@PROMISES.check(has_entropy)
def the_entropy_equals_monte_carlo(case: Case) -> str:
    """``entropy`` is -E[log q(z)]."""
    q: Any = posterior_of(case)
    rows, detail = len(q.mode), ""
    _, log_q = q.rsample_and_log_prob(_draws(), MANY)
    for row, want in enumerate(q.entropy().tolist()):
        values = -log_q.value.reshape(MANY, rows)[:, row]
        detail = expect_mean(f"-E[log q] of row {row} (the entropy)", values, want)
    return detail


@PROMISES.check(has_closed_form_kl)
def the_closed_form_kl_equals_monte_carlo(case: Case) -> str:
    """KL(q || p) of every p of the table of pairs is E[log q(z) - log p(z)]."""
    q, detail = posterior_of(case), ""
    rows = len(q.mode)
    z, log_q = q.rsample_and_log_prob(_draws(), MANY)
    for prior in _known_priors(q):
        with torch.no_grad():
            difference = (log_q.value - prior.log_prob(z).value).reshape(MANY, rows)
            exact = closed_form_kl(q, prior)
        if exact is None:
            raise CheckFailed("there is no closed form")
        for row, want in enumerate(exact.tolist()):
            detail = expect_mean(
                f"E[log q - log p] of row {row} (the KL to {type(prior).__name__})",
                difference[:, row],
                want,
                "Is a half, a minus one, or an axis of the sum missing in the closed form?",
            )
    return detail


@PROMISES.check(has_repeated)
def what_is_repeated_is_the_same(case: Case) -> None:
    """``repeated(k)`` has the rows k times, draw by draw."""
    q = posterior_of(case)
    want = q.mode.repeat(2, *(1,) * (q.mode.ndim - 1))
    expect_equal("the modes of `repeated` must be those of q, twice", q.repeated(2).mode, want)


@PROMISES.check(has_stored)
def what_is_stored_is_restored(case: Case) -> str:
    """``restored`` makes the same posterior from what ``stored`` gave, or from a row of it."""
    q = posterior_of(case)
    stored = q.stored()
    expect(len(stored) == len(q.mode), f"stored must have {len(q.mode)} rows, got {len(stored)}.")
    again = type(q).restored(stored)
    want, got = (p.rsample_and_log_prob(_draws())[0] for p in (q, again))
    expect_close("a draw of what is restored", got, want, case.how.tolerance, of="the same draw")
    row = type(q).restored(stored[1:2]).mode
    return expect_close("the mode of one row", row, q.mode[1:2], case.how.tolerance)


@PROMISES.check(has_detached)
def what_is_detached_has_no_gradient(case: Case) -> None:
    """``detached`` is the same distribution, without gradients to its parameters."""
    part = case.ready() if is_head(case) else None
    q = part(case.draw(part.feature_shape, Support.REAL, torch.float64)) if part else None
    q = posterior_of(case) if q is None else q
    apart = q.detached()
    expect_equal("the mode of `detached` must be the same", apart.mode.detach(), q.mode.detach())
    z, log_q = apart.rsample_and_log_prob(_draws())
    held = z.requires_grad or log_q.value.requires_grad
    expect(not held, "a draw of `detached` must have no gradient, but it has.")


@PROMISES.check(lambda case: not has_density(case))
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


@PROMISES.check()
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


@PROMISES.check()
def its_statistics_are_numbers(case: Case) -> None:
    """``statistics`` gives scalars without a gradient, ready for the log."""
    for name, value in posterior_of(case).statistics().items():
        scalar = value.ndim == 0 and not value.requires_grad and bool(value.isfinite())
        expect(scalar, f"statistic {name} must be a finite, detached scalar, got {value!r}.")


def _draws(seed: int = 0) -> Draws:
    return Draws(torch.Generator().manual_seed(seed))


def _known_priors(q: Posterior) -> list[Prior]:
    """A prior of each type that has a closed form beside q, with random weights."""
    pairs = dict.fromkeys(p for of, p in (*CLOSED_FORMS, *OF_ELEMENTS) if of is type(q))
    found = []
    for kind in pairs:
        prior: Prior = kind(tuple(q.mode.shape[1:])).to(q.mode.dtype)
        redraw(prior)
        found.append(prior)
    return found
