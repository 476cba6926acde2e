"""The promises of an Encoder."""

from __future__ import annotations

import torch

from corekit.data_spec import Support
from corekit.errors import ShapeError
from corekit.interfaces.encoder import Encoder
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect
from corekit.testing.exercise import Tensors, draws
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused
from corekit.testing.suites.posterior_exercise import PosteriorExercise, outputs_of
from corekit.testing.suites.posterior_promises import PROMISES


class EncoderExercise(PosteriorExercise):
    """The posterior of x: its mode, a draw, and the densities of a draw and of a given latent."""

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x, and a latent to score."""
        part: Encoder = case.part
        return {
            "x": case.draw(part.event_shape, Support.REAL, dtype, rows),
            "latent": case.draw(part.latent_shape, part.latent_support, dtype, rows),
            "rows": torch.arange(rows),
        }

    def __call__(self, part: Encoder, inputs: Tensors) -> Tensors:
        """mode, z, log_q of z, log_prob of the given latent, entropy."""
        return outputs_of(part(inputs["x"]), inputs)


EXERCISE = EncoderExercise()
SUITE = Suite(PROMISES)


def has_free_axes(case: Case) -> bool:
    """Whether some axis may have any length."""
    return bool(case.part.free_axes)


@SUITE.check()
def the_latent_has_the_declared_shape(case: Case) -> None:
    """Mode and draws have ``latent_shape``, and log q is of the declared kind."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    posterior = part(inputs["x"])
    want = (ROWS, *part.latent_shape)
    got = tuple(posterior.mode.shape)
    expect(got == want, f"the mode must have shape {want}, as latent_shape says, got {got}.")
    kind = posterior.rsample_and_log_prob(draws(inputs))[1].kind
    expect(
        kind is part.kind,
        f"log q must be of the declared kind '{part.kind.value}', got '{kind.value}'.",
    )


@SUITE.check()
def the_input_matters(case: Case) -> None:
    """Another x has another posterior."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    modes = part(inputs["x"]).mode
    expect(
        not torch.equal(modes[0], modes[1]),
        "two different rows must have different posteriors, got the same mode for both.",
    )


@SUITE.check()
def wrong_shapes_are_refused(case: Case) -> None:
    """A wrong shape of x is a ShapeError, in words."""
    part, x = case.ready(), EXERCISE.inputs(case, torch.float64)["x"]
    axis = x.ndim - 1 if 0 in part.free_axes else 1
    expect_refused("a longer x", lambda: part(torch.cat([x, x], dim=axis)), ShapeError)
    expect_refused("x without a batch axis", lambda: part(x[0]), ShapeError)


@SUITE.check(has_free_axes)
def a_free_axis_may_have_any_length(case: Case) -> None:
    """An x that is longer along a free axis is taken as well."""
    part, x = case.ready(), EXERCISE.inputs(case, torch.float64)["x"]
    for axis in part.free_axes:
        longer = torch.cat([x, 0.5 * x], dim=axis + 1)
        got, want = tuple(part(longer).mode.shape), (ROWS, *part.latent_shape)
        expect(got == want, f"the mode of a longer x must have shape {want}, got {got}.")


SUITE.checks += module_checks(EXERCISE)
