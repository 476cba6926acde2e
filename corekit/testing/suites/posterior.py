"""The promises of a posterior head, and of what a component of the kind ``posterior`` makes."""

from __future__ import annotations

from dataclasses import replace

import torch

from corekit.errors import ShapeError
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Check, Suite, expect
from corekit.testing.exercise import draws
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused
from corekit.testing.statistics import lies_on
from corekit.testing.suites.posterior_exercise import HeadExercise
from corekit.testing.suites.posterior_promises import PROMISES, is_head, posterior_of, support_of

EXERCISE = HeadExercise()
SUITE = Suite(PROMISES)


@SUITE.check(is_head)
def the_latent_has_the_declared_shape(case: Case) -> None:
    """Of a head: mode and draws have its ``latent_shape``, and log q is of its kind."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    q = part(inputs["features"])
    want, got = (ROWS, *part.latent_shape), tuple(q.mode.shape)
    expect(got == want, f"the mode must have shape {want}, as latent_shape says, got {got}.")
    kind = q.rsample_and_log_prob(draws(inputs))[1].kind
    expect(
        kind is part.kind,
        f"log q must be of the declared kind '{part.kind.value}', got '{kind.value}'.",
    )


@SUITE.check(is_head)
def draws_lie_where_declared(case: Case) -> None:
    """Of a head: mode and draws lie on its ``latent_support``."""
    q = posterior_of(case)
    inputs = EXERCISE.inputs(case, torch.float64)
    for name, z in (("the mode", q.mode), ("a draw", q.rsample_and_log_prob(draws(inputs))[0])):
        lies = lies_on(z, support_of(case))
        expect(lies, f"{name} must lie on '{support_of(case).value}', as latent_support says.")


@SUITE.check(is_head)
def the_features_matter(case: Case) -> None:
    """Of a head: other features have another posterior."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64, 16)
    same = {**inputs, "features": inputs["features"][:1].expand_as(inputs["features"])}
    z, other = (
        part(given["features"]).rsample_and_log_prob(draws(given))[0] for given in (inputs, same)
    )
    expect(not torch.equal(z[1:], other[1:]), "other features must give another posterior.")


@SUITE.check(is_head)
def wrong_features_are_refused(case: Case) -> None:
    """Of a head: features of a wrong shape are a ShapeError, in words."""
    part, x = case.ready(), EXERCISE.inputs(case, torch.float64)["features"]
    expect_refused("more features", lambda: part(torch.cat([x, x], dim=1)), ShapeError)
    expect_refused("features without a batch axis", lambda: part(x[0]), ShapeError)


def _of_heads(check: Check) -> Check:
    return replace(check, applies=lambda case: is_head(case) and check.applies(case))


SUITE.checks += [_of_heads(check) for check in module_checks(EXERCISE)]
