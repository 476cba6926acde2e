"""The promises of a Denoiser."""

from __future__ import annotations

from functools import partial
from typing import get_args

import torch
from torch import Tensor

from corekit.data_spec import Shape, Support
from corekit.diffusion.schedules import Rectified
from corekit.errors import CorekitError, ShapeError
from corekit.interfaces.denoiser import Denoiser, Predicts
from corekit.interfaces.records import Condition
from corekit.testing.case import ROWS, Case
from corekit.testing.check import CheckFailed, Suite, expect, expect_close
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.levels import (
    STEPS,
    another_condition,
    condition_of,
    level_of,
    random_condition,
)
from corekit.testing.module import module_checks
from corekit.testing.refusal import expect_refused


class DenoiserExercise(Exercise):
    """One call, at a level of a table with steps and betas, with every condition asked for."""

    compiles = True

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """x_t, the integer t of each row, and the conditions."""
        part: Denoiser = case.part
        t = (torch.arange(rows) * 11 + 3) % STEPS
        inputs = {"x_t": case.draw(part.event_shape, Support.REAL, dtype, rows), "t": t}
        for name, shape in part.condition_shapes.items():
            inputs[f"condition.{name}"] = random_condition(name, shape, dtype, rows)
        return inputs

    def __call__(self, part: Denoiser, inputs: Tensors) -> Tensors:
        """The raw prediction."""
        level = level_of(inputs["t"], inputs["x_t"].dtype)
        return {"output": part(inputs["x_t"], level, condition_of(part, inputs))}


EXERCISE = DenoiserExercise()
SUITE = Suite()


def has_conditions(case: Case) -> bool:
    """Whether it asks for a condition."""
    return bool(case.part.condition_shapes)


def has_free_axes(case: Case) -> bool:
    """Whether some axes may have any length."""
    return bool(case.part.free_axes)


@SUITE.check()
def it_says_what_it_takes_and_predicts(case: Case) -> str:
    """event_shape and condition_shapes are those it was built for, predicts is one of four."""
    part = case.part
    given = case.given.get("event_shape", part.event_shape)
    expect(
        tuple(part.event_shape) == tuple(given),
        f"event_shape must be {tuple(given)}, as it was built for, got {part.event_shape}.",
    )
    known = {*Condition._fields} & {*case.given.get("condition_shapes", part.condition_shapes)}
    expect(
        set(part.condition_shapes) <= known,
        f"condition_shapes must be among {sorted(known)}, which it was built for, got "
        f"{sorted(part.condition_shapes)}.",
    )
    expect(
        part.predicts in get_args(Predicts),
        f"predicts must be one of {', '.join(get_args(Predicts))}, got {part.predicts!r}.",
    )
    axes = range(len(part.event_shape))
    expect(
        part.channel_axis in axes and all(axis in axes for axis in part.free_axes),
        f"channel_axis and free_axes must be axes of the event, 0 ... {len(axes) - 1}, got "
        f"{part.channel_axis} and {part.free_axes}.",
    )
    return f"predicts {part.predicts}, conditions {sorted(part.condition_shapes) or 'none'}"


@SUITE.check()
def the_output_has_the_shape_of_the_event(case: Case) -> None:
    """The output is ``(B, *event_shape)``, twice the channels where variances are learned."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    _expect_shape(part, EXERCISE(part, inputs)["output"], part.event_shape)


@SUITE.check()
def the_noise_level_matters(case: Case) -> None:
    """The same x_t at another level gives another output."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    outputs = [
        EXERCISE(part, {**inputs, "t": torch.full((ROWS,), t)})["output"]
        for t in (0, STEPS // 2, STEPS - 1)
    ]
    for first, second in ((0, 1), (1, 2)):
        expect(
            bool((outputs[first] != outputs[second]).flatten(1).any(1).all()),
            "another noise level must give another output in every row, got the same. Tell the "
            "network level.time, level.log_snr or level.sigma.",
        )


@SUITE.check(has_conditions)
def each_condition_matters(case: Case) -> None:
    """Another value of any condition that it asks for gives another output."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    before = EXERCISE(part, inputs)["output"]
    for name in part.condition_shapes:
        key = f"condition.{name}"
        after = EXERCISE(part, {**inputs, key: another_condition(name, inputs[key])})["output"]
        expect(
            not torch.equal(before, after),
            f"another condition '{name}' must give another output, got the same. If it takes "
            "none, leave it out of condition_shapes.",
        )


@SUITE.check(has_conditions)
def dropped_conditions_leave_other_rows_alone(case: Case) -> str:
    """Rows whose condition is dropped, as guidance does, are finite and change no other row."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    level, condition = level_of(inputs["t"], torch.float64), condition_of(part, inputs)
    dropped = torch.arange(ROWS) % 2 == 0
    whole = part(inputs["x_t"], level, condition)
    some = part(inputs["x_t"], level, condition and condition.drop(dropped))
    expect(
        bool(some.isfinite().all()),
        "the output without a condition (zeros, label -1, no points) must be finite, got NaN or "
        "infinity.",
    )
    return expect_close(
        "rows that keep their condition, beside rows that lose it,",
        some[~dropped],
        whole[~dropped],
        case.how.tolerance,
        of="those where none was dropped",
    )


@SUITE.check()
def wrong_inputs_are_refused(case: Case) -> None:
    """A wrong x_t, and a missing or an ill-fitting condition: ShapeError, in words."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x_t, condition = inputs["x_t"], condition_of(part, inputs)
    level = level_of(inputs["t"], torch.float64)
    calls = {"x_t without a batch axis": (x_t[0], condition)}
    for axis in set(range(len(part.event_shape))) - set(part.free_axes):
        calls[f"an x_t that is longer along axis {axis}"] = (_longer(x_t, axis), condition)
    if condition is not None:
        calls["no condition"] = (x_t, None)
    for name in part.condition_shapes:
        value = inputs[f"condition.{name}"]
        wider = value[..., None].expand(*value.shape, 2)
        for what, wrong in (
            ("no condition", None),
            ("an ill-shaped condition", wider),
            ("fewer rows of the condition", value[:-1]),
        ):
            calls[f"{what} '{name}'"] = (x_t, (condition or Condition())._replace(**{name: wrong}))
    for what, (x, given) in calls.items():
        expect_refused(what, partial(part, x, level, given), ShapeError)


@SUITE.check()
def the_dtype_of_the_level_does_not_matter(case: Case) -> None:
    """A float64 level with a float32 x_t, and the reverse, give an output in the dtype of x_t."""
    for of_x, of_level in ((torch.float64, torch.float32), (torch.float32, torch.float64)):
        part, inputs = case.ready(of_x), EXERCISE.inputs(case, of_x)
        level, condition = level_of(inputs["t"], of_level), condition_of(part, inputs)
        output = part(inputs["x_t"], level, condition)
        expect(
            output.dtype is of_x,
            f"the output must be {of_x} for x_t in {of_x} and a level in {of_level}, got "
            f"{output.dtype}. Compute features of the level in its own dtype, then cast them to "
            "that of x_t.",
        )


@SUITE.check()
def a_level_without_steps_is_taken_or_refused(case: Case) -> str:
    """A level of a continuous schedule (no step, no beta) works, or is refused in words."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    level = Rectified().at((inputs["t"] + 1).double() / (STEPS + 1))
    try:
        output = part(inputs["x_t"], level, condition_of(part, inputs))
    except CorekitError as refused:
        return f"refused: {refused}"
    except Exception as other:
        raise CheckFailed(
            "a level without step and beta must be taken or refused with an error of corekit, got "
            f"{type(other).__name__}: {other}. Use level.time or level.log_snr, or say in a "
            "UsageError which schedules it needs."
        ) from other
    expect(bool(output.isfinite().all()), "the output must be finite there, got NaN or infinity.")
    return "taken"


@SUITE.check()
def prepared_computes_the_same(case: Case) -> str:
    """``prepared(condition)`` gives the same output at every level, for that condition."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    condition, detail = condition_of(part, inputs), ""
    prepared = part.prepared(condition)
    for t in (inputs["t"], inputs["t"].flip(0)):
        level = level_of(t, torch.float64)
        want = part(inputs["x_t"], level, condition)
        got = prepared(inputs["x_t"], level, condition)
        of = "that of the denoiser itself"
        detail = expect_close("the output of prepared()", got, want, case.how.tolerance, of=of)
    return detail


@SUITE.check()
def an_earlier_estimate_may_be_given(case: Case) -> None:
    """``previous``, an estimate of x_0 like x_t, is used or ignored, as ``self_condition`` says."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    x_t, level = inputs["x_t"], level_of(inputs["t"], torch.float64)
    condition = condition_of(part, inputs)
    output = part(x_t, level, condition, previous=x_t.flip(0))
    _expect_shape(part, output, part.event_shape)
    changed = not torch.equal(output, part(x_t, level, condition))
    expect(
        changed == part.self_condition,
        "an earlier estimate must change the output if, and only if, self_condition is True, got "
        f"{'another' if changed else 'the same'} output and self_condition {part.self_condition}.",
    )


@SUITE.check(has_free_axes)
def free_axes_may_have_any_length(case: Case) -> None:
    """Another length along a free axis, shorter or longer, gives an output of that length."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    for axis in part.free_axes:
        for length in (1, part.event_shape[axis] + 3):
            event = list(part.event_shape)
            event[axis] = length
            x_t = torch.randn(ROWS, *event, dtype=torch.float64)
            _expect_shape(part, EXERCISE(part, {**inputs, "x_t": x_t})["output"], tuple(event))


def _expect_shape(part: Denoiser, output: Tensor, event: Shape) -> None:
    want = [ROWS, *event]
    want[1 + part.channel_axis] *= 2 if part.learns_variance else 1
    expect(
        list(output.shape) == want,
        f"the output must have shape {tuple(want)} for x_t {(ROWS, *event)} (learns_variance is "
        f"{part.learns_variance}, channel_axis {part.channel_axis}), got {tuple(output.shape)}.",
    )


def _longer(x: Tensor, axis: int) -> Tensor:
    return torch.cat([x, x], dim=axis + 1)


SUITE.checks += module_checks(EXERCISE)
