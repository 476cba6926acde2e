"""The promises of a likelihood, the distribution of data given what a decoder's network says."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.observation import Observation
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.module import module_checks
from corekit.testing.statistics import expect_mean

MANY = 20_000


class LikelihoodExercise(Exercise):
    """The loss, and the mean."""

    wide = frozenset({"loss"})

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Parameters, and x of the support."""
        part: Observation = case.part
        return {
            "parameters": torch.randn(rows, *part.parameter_shape, dtype=dtype),
            "x": case.draw(part.event_shape, part.support, dtype, rows),
        }

    def __call__(self, part: Observation, inputs: Tensors) -> Tensors:
        """loss and mean."""
        loss, _ = part.loss(inputs["parameters"], inputs["x"])
        return {"loss": loss, "mean": part.mean(inputs["parameters"])}

    def expected_dtype(self, name: str, dtype: torch.dtype) -> torch.dtype:
        """Sums are kept in float32 or wider."""
        return torch.promote_types(dtype, torch.float32) if name == "loss" else dtype


EXERCISE = LikelihoodExercise()
SUITE = Suite()


def has_density(case: Case) -> bool:
    """Whether it is one."""
    return case.part.kind is not Likelihood.NONE


@SUITE.check()
def losses_means_and_samples_have_their_shapes(case: Case) -> None:
    """One loss per row with its terms; means and samples are events."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    loss, terms = part.loss(inputs["parameters"], inputs["x"])
    for name, value in {"the loss": loss, **terms}.items():
        expect(tuple(value.shape) == (ROWS,), f"{name} must be one per row, got {value.shape}.")
    want = (ROWS, *part.event_shape)
    drawn = part.sample(inputs["parameters"], 1.0, Draws(torch.Generator().manual_seed(0)))
    for name, value in (("a mean", part.mean(inputs["parameters"])), ("a sample", drawn)):
        expect(tuple(value.shape) == want, f"{name} must have shape {want}, got {value.shape}.")


@SUITE.check()
def samples_lie_on_the_support(case: Case) -> None:
    """Means and samples of the unit interval stay in it."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    if part.support is not Support.UNIT_INTERVAL:
        return
    drawn = part.sample(inputs["parameters"], 1.0, Draws(torch.Generator().manual_seed(0)))
    for name, value in (("means", part.mean(inputs["parameters"])), ("samples", drawn)):
        inside = bool(((value >= 0) & (value <= 1)).all())
        expect(inside, f"{name} must lie in [0, 1], got {value.min():.3g} to {value.max():.3g}.")


@SUITE.check(has_density)
def the_mean_is_that_of_the_samples(case: Case) -> str:
    """``mean`` is the average of many samples of the same parameters."""
    part, detail = case.ready(), ""
    parameters, x = _many(case, part)
    mean = part.mean(parameters[:1]).flatten()
    for i in range(min(len(mean), 8)):
        detail = expect_mean(f"the mean sample in coordinate {i}", x[:, i], mean[i].item())
    return detail


@SUITE.check(has_density)
def the_score_of_samples_is_zero_on_average(case: Case) -> str:
    """E[d log p(x) / d parameters] = 0 for x from p: it would not, were p not normalised."""
    part, detail = case.ready(), ""
    parameters, x = _many(case, part)
    parameters = parameters.clone().requires_grad_()
    value = part.log_prob(parameters, x.reshape(MANY, *part.event_shape)).value
    (score,) = torch.autograd.grad(value.sum(), parameters)
    score = score.flatten(1)
    for i in range(0, score.shape[1], max(1, score.shape[1] // 8)):
        detail = expect_mean(f"E[score] of parameter {i}", score[:, i], 0.0, "Is p normalised?")
    return detail


@SUITE.check()
def without_noise_there_is_one_answer(case: Case) -> None:
    """A temperature of 0 gives the same x from any noise."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    first, second = (
        part.sample(inputs["parameters"], 0.0, Draws(torch.Generator().manual_seed(seed)))
        for seed in (0, 1)
    )
    expect(torch.equal(first, second), "at temperature 0 samples must not depend on the noise.")


def _many(case: Case, part: Observation) -> tuple[Tensor, Tensor]:
    """One row of parameters many times, and a flat sample of each."""
    parameters = EXERCISE.inputs(case, torch.float64)["parameters"][:1]
    parameters = parameters.expand(MANY, *parameters.shape[1:])
    with torch.no_grad():
        x = part.sample(parameters, 1.0, Draws(torch.Generator().manual_seed(0)))
    return parameters, x.flatten(1)


SUITE.checks += module_checks(EXERCISE)
