"""The promises of a Loss of a latent model, on one in which everything is known."""

from __future__ import annotations

import torch

from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood, LogProb
from corekit.interfaces.loss import Loss
from corekit.interfaces.names import MAIN
from corekit.interfaces.records import Batch
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect, expect_close
from corekit.testing.exercise import Exercise, Tensors, draws
from corekit.testing.likelihood import expect_kind
from corekit.testing.linear_gaussian import FEATURES, LinearGaussian
from corekit.testing.module import module_checks
from corekit.testing.statistics import expect_mean
from corekit.testing.suites.density import expect_terms

MANY = 20_000


class LossExercise(Exercise):
    """The total on a linear Gaussian model."""

    wide = frozenset({"total"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Rows of data."""
        return {"x": torch.randn(rows, FEATURES, dtype=dtype), "rows": torch.arange(rows)}

    def __call__(self, part: Loss, inputs: Tensors) -> Tensors:
        """total."""
        x = inputs["x"]
        model = LinearGaussian(exact=False).model.to(x.device, x.dtype)
        return {"total": part(model, Batch(x), draws(inputs)).total}


EXERCISE = LossExercise()
SUITE = Suite()


def is_bound(case: Case) -> bool:
    """Whether minus the total claims to say something about log p(x)."""
    return case.part.kind is not Likelihood.NONE


@SUITE.check()
def it_has_terms_with_units(case: Case) -> None:
    """The total is one number per row, and every term has a shape and a unit."""
    inputs = EXERCISE.inputs(case, torch.float64)
    expect_terms(case.ready()(LinearGaussian().model, Batch(inputs["x"]), draws(inputs)), ROWS)


@SUITE.check()
def it_trains_every_part(case: Case) -> None:
    """Encoder and decoder get a gradient."""
    model, inputs = LinearGaussian(exact=False).model, EXERCISE.inputs(case, torch.float64)
    part = case.ready()
    part.at_step(10**6)
    part(model, Batch(inputs["x"]), draws(inputs)).total.mean().backward()
    for name, parameter in model.named_parameters():
        grad = parameter.grad
        moved = grad is not None and bool(grad.isfinite().all()) and bool(grad.any())
        expect(moved, f"{name} of the model must get a finite gradient that is not zero.")


@SUITE.check(lambda case: len(case.part.phases) > 1)
def its_phases_train_its_own_parameters(case: Case) -> None:
    """Each phase beside main has terms with units, and moves parameters of the loss alone."""
    model, inputs, part = LinearGaussian().model, EXERCISE.inputs(case, torch.float64), case.ready()
    for phase in (phase for phase in part.phases if phase != MAIN):
        terms = part.of_phase(phase, model, Batch(inputs["x"]), draws(inputs))
        expect_terms(terms, ROWS)
        own = {n for n, _ in part.named_parameters() if part.phase_of(n) == phase}
        expect(bool(own), f"phase_of must give some parameters of the loss to {phase}, got none.")
        terms.total.mean().backward()
        moved = {n for n, p in part.named_parameters() if p.grad is not None and p.grad.any()}
        expect(moved == own, f"{phase} must move {sorted(own)}, got gradients of {sorted(moved)}.")
        reached = [n for n, p in model.named_parameters() if p.grad is not None]
        expect(not reached, f"{phase} must leave the model alone, got a gradient of {reached}.")
        part.zero_grad(set_to_none=True)


@SUITE.check(is_bound)
def it_is_the_bound_that_it_claims_to_be(case: Case) -> str:
    """With a wrong posterior, minus the total is on average below the exact log p(x)."""
    truth, part = LinearGaussian(exact=False), case.ready()
    detail = ""
    for row in EXERCISE.inputs(case, torch.float64)["x"]:
        values = -_totals(part, truth, row)
        exact = truth.log_prob(row[None]).item()
        detail = expect_kind("minus the total", LogProb(values, part.kind), exact)
    return detail


@SUITE.check(is_bound)
def the_bound_is_tight_at_the_exact_posterior(case: Case) -> str:
    """With the exact posterior, minus the total is on average the exact log p(x)."""
    truth, part = LinearGaussian(), case.ready()
    detail = ""
    for row in EXERCISE.inputs(case, torch.float64)["x"]:
        exact = truth.log_prob(row[None]).item()
        detail = expect_mean(
            "E[minus the total]",
            -_totals(part, truth, row),
            exact,
            "Is a half, a constant, or a term missing?",
        )
    return detail


@SUITE.check()
def its_schedule_depends_on_the_step_alone(case: Case) -> str:
    """At step s it is the same, whether it went through the steps before or was resumed there."""
    model, inputs = LinearGaussian().model, EXERCISE.inputs(case, torch.float64)
    walked, resumed, detail = case.ready(), case.ready(), ""
    for step in range(8):
        walked.at_step(step)
    resumed.at_step(7)
    first, second = (
        part(model, Batch(inputs["x"]), draws(inputs)).total for part in (walked, resumed)
    )
    detail = expect_close(
        "the total at step 7, resumed there,", second, first, 1e-12, of="that after steps 0 ... 7"
    )
    resumed.at_step(10**9)
    late = resumed(model, Batch(inputs["x"]), draws(inputs)).total
    expect(bool(late.isfinite().all()), "the total at step 1e9 must be finite.")
    return detail


def _totals(part: Loss, truth: LinearGaussian, row: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(row.expand(MANY, -1))
    with torch.no_grad():
        return part(truth.model, batch, Draws(generator)).total


SUITE.checks += module_checks(EXERCISE)
