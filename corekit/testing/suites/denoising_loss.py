"""The promises of a DenoisingLoss."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.data_spec import Support
from corekit.diffusion.process import q_sample, to_prediction
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.testing.case import ROWS, Case
from corekit.testing.check import Suite, expect, expect_close
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.levels import SCHEDULE, STEPS, level_of
from corekit.testing.module import module_checks

EVENT = (5, 3)


class DenoisingLossExercise(Exercise):
    """Scores a random v prediction of random data."""

    wide = frozenset({"loss"})
    compiles = True

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x_0, eps, the output of a network, and the integer t of each row."""
        names = ("x_0", "eps", "output")
        inputs = {name: case.draw(EVENT, Support.REAL, dtype, rows) for name in names}
        return {**inputs, "t": (torch.arange(rows) * 11 + 3) % STEPS}

    def __call__(self, part: DenoisingLoss, inputs: Tensors) -> Tensors:
        """The loss of each row."""
        x_0, eps = inputs["x_0"], inputs["eps"]
        level = level_of(inputs["t"], x_0.dtype)
        x_t = q_sample(x_0, eps, level)
        prediction = to_prediction(inputs["output"], "v", x_t, level)
        part.prepare(SCHEDULE)
        return {"loss": part(prediction, x_0, x_t, eps, level)}


EXERCISE = DenoisingLossExercise()
SUITE = Suite()


def is_error(case: Case) -> bool:
    """Whether it claims to be 0 where the prediction is right, and positive elsewhere."""
    return bool(case.part.is_error)


def seeks_mean(case: Case) -> bool:
    """Whether it claims to be least, on average, at the conditional mean."""
    return bool(case.part.seeks_mean)


def is_per_coordinate(case: Case) -> bool:
    """Whether its unit is one per coordinate."""
    return "per coordinate" in getattr(case.part, "unit", "")


@SUITE.check()
def it_has_a_name_and_a_unit(case: Case) -> str:
    """Reports can name it, and say what its numbers are of."""
    name, unit = getattr(case.part, "name", None), getattr(case.part, "unit", None)
    expect(isinstance(name, str) and bool(name), f"name must be a word, got {name!r}.")
    expect(
        isinstance(unit, str) and bool(unit),
        f"unit must say what the loss is measured in, got {unit!r}: 'squared error per coordinate'",
    )
    return f"{name}, in {unit}"


@SUITE.check()
def each_row_has_a_loss(case: Case) -> None:
    """The result is ``(B,)``, finite, for events of any number of axes."""
    part = case.ready()
    for event in ((1,), (5,), (7, 3), (3, 8, 8)):
        loss = _loss(part, *(torch.randn(ROWS, *event, dtype=torch.float64) for _ in range(3)))
        expect(
            tuple(loss.shape) == (ROWS,),
            f"the loss of {ROWS} rows of shape {event} must have shape ({ROWS},), got "
            f"{tuple(loss.shape)}. Reduce the event, not the batch: error.flatten(1).mean(1).",
        )
        expect(bool(loss.isfinite().all()), "the loss must be finite, got NaN or infinity.")


@SUITE.check(is_error)
def a_perfect_prediction_costs_nothing(case: Case) -> str:
    """The loss is 0 where the prediction is the truth."""
    x_0, eps = _normal(STEPS), _normal(STEPS)
    level = level_of(torch.arange(STEPS), torch.float64)
    loss = case.ready()(Prediction(x_0, eps), x_0, q_sample(x_0, eps, level), eps, level)
    hint = "Are prediction and truth converted to the same target? If the loss is no error (a "
    hint += "likelihood, a weighted bound), say so: is_error = False."
    tolerance = case.how.tolerance
    return expect_close(
        "the loss of the truth", loss, torch.zeros_like(loss), tolerance, of="0", hint=hint
    )


@SUITE.check(is_error)
def an_error_is_positive(case: Case) -> None:
    """The loss of a wrong prediction is above 0, whichever way it is wrong."""
    x_0, eps, output = _normal(256), _normal(256), _normal(256)
    loss = _loss(case.ready(), x_0, eps, output)
    expect(
        bool((loss > 0).all()),
        f"the loss of a wrong prediction must be positive, got {loss.min().item():.3g}. If it is "
        "no error, say so: is_error = False.",
    )


@SUITE.check(seeks_mean)
def it_is_least_at_the_conditional_mean(case: Case) -> str:
    """Of all predictions for one x_t, the mean of the x_0 behind it costs least on average."""
    part, worst = case.ready(), 0.0
    part.prepare(SCHEDULE)
    for t in (2, STEPS // 2, STEPS - 3):
        level = level_of(torch.full((64,), t), torch.float64)
        x_0 = _normal(64).exp()  # skewed, so that mean and median differ
        x_t = _normal(1).expand_as(x_0)

        def loss(
            off: Tensor, x_0: Tensor = x_0, x_t: Tensor = x_t, at: NoiseLevel = level
        ) -> Tensor:
            truth, guess = (
                to_prediction(v, "x_0", x_t, at) for v in (x_0, (x_0.mean(0) + off).expand_as(x_0))
            )
            return part(guess, truth.x_0, x_t, truth.eps, at).mean()

        off = torch.zeros(EVENT, dtype=torch.float64, requires_grad=True)
        best = loss(off)
        (slope,) = torch.autograd.grad(best, off)
        moved = [loss(size * _normal(1)[0]).item() for size in (-1.0, -0.1, 0.1, 1.0)]
        worst = max(worst, slope.abs().max().item() / best.item())
        expect(
            worst <= 1e-6 and min(moved) > best.item(),
            f"the loss must be least where the prediction is E[x_0 | x_t], got a slope of "
            f"{worst:.2g} times the loss there, and {min(moved):.5g} beside it for "
            f"{best.item():.5g}. Samplers take predictions for means. If another average is "
            "meant (a median), say so: seeks_mean = False.",
        )
    return f"slope there {worst:.1e} of the loss"


@SUITE.check()
def its_gradient_reaches_the_prediction(case: Case) -> None:
    """Every row of a wrong prediction gets a gradient, finite and not all zero."""
    inputs = EXERCISE.inputs(case, torch.float64)
    output = inputs["output"].requires_grad_()
    loss = EXERCISE(case.ready(), inputs)["loss"]
    expect(loss.requires_grad, "the loss must carry a gradient, got none. Is something detached?")
    (grad,) = torch.autograd.grad(loss.sum(), output)
    fine = grad.isfinite().all() and grad.flatten(1).any(1).all()
    expect(bool(fine), "every row of a prediction must get a finite gradient that is not zero.")


@SUITE.check(is_per_coordinate)
def an_event_twice_as_long_costs_the_same(case: Case) -> str:
    """A unit "per coordinate" means a mean over the event: repeating it changes nothing."""
    part, tensors = case.ready(), [_normal(ROWS) for _ in range(3)]
    once = _loss(part, *tensors)
    twice = _loss(part, *(torch.cat([v, v], dim=1) for v in tensors))
    return expect_close(
        "the loss of an event that is repeated",
        twice,
        once,
        case.how.tolerance,
        of="that of the event once",
        hint="The unit says 'per coordinate': take the mean over the event, not the sum.",
    )


def _normal(rows: int) -> Tensor:
    return torch.randn(rows, *EVENT, dtype=torch.float64)


def _loss(part: DenoisingLoss, x_0: Tensor, eps: Tensor, output: Tensor) -> Tensor:
    t = (torch.arange(len(x_0)) * 11 + 3) % STEPS
    return EXERCISE(part, {"x_0": x_0, "eps": eps, "output": output, "t": t})["loss"]


SUITE.checks += module_checks(EXERCISE)
