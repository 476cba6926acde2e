"""Further promises of a sampler: what its loop asks for, hands on, and leaves alone.

They are part of the suite of samplers.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.refusal import expect_refused
from corekit.testing.sampling import MEAN, ORACLE, Scripted, normal, sample, tables, taken

LOOP = Suite()


@LOOP.check()
def nothing_given_is_written_to(case: Case) -> None:
    """x_T, the times and the predictions are left as they were."""
    part = case.fresh()
    seen: list[tuple[Tensor, Tensor]] = []

    def predict(x: Tensor, level: NoiseLevel) -> Prediction:
        prediction = ORACLE.predict(x, level)
        seen.extend((value, value.clone()) for value in (prediction.x_0, prediction.eps))
        return prediction

    for schedule in taken(part).values():
        x_T, times = normal(3, 2), schedule.times(4)
        seen += [(x_T, x_T.clone()), (times, times.clone())]
        part(predict, schedule, x_T, times=times, generator=Scripted())
    for value, before in seen:
        expect_equal(
            "x_T, times and predictions must be left as they were, but one changed",
            value,
            before,
            "Do not work in place (x += y, add_): use x = x + y.",
        )


@LOOP.check()
def no_gradient_is_kept(case: Case) -> None:
    """Samples carry no graph, though the network has weights."""
    part, weight = case.fresh(), torch.ones((), dtype=torch.float64, requires_grad=True)

    def predict(x: Tensor, level: NoiseLevel) -> Prediction:
        prediction = ORACLE.predict(x, level)
        return Prediction(weight * prediction.x_0, weight * prediction.eps)

    for schedule in taken(part).values():
        x = sample(part, schedule, normal(3, 2), 3, predict=predict)
        expect(
            not x.requires_grad,
            "samples must carry no gradient, got a graph through every step. Decorate the loop "
            "with @torch.no_grad().",
        )


@LOOP.check()
def the_callback_sees_every_step(case: Case) -> None:
    """The callback is called with 1, 2, ... after each step; the last x is the result."""
    part = case.fresh()
    for schedule in taken(part).values():
        for steps in (1, 5):
            seen: list[tuple[int, Tensor, Prediction]] = []

            def keep(done: int, x: Tensor, prediction: Prediction, seen: Any = seen) -> None:
                seen.append((done, x, prediction))

            x = sample(part, schedule, normal(3, 2), steps, callback=keep)
            done = [call[0] for call in seen]
            expect(
                done == list(range(1, steps + 1)),
                f"the callback must be called after each of {steps} step(s) with 1 ... {steps}, "
                f"got {done}.",
            )
            expect_equal("the x of the last call must be the result", seen[-1][1], x)


@LOOP.check()
def it_asks_at_levels_of_the_schedule(case: Case) -> None:
    """Each row gets a level of the schedule, in float32 or wider; the first is that of times[0]."""
    part = case.fresh()
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for name, schedule in taken(part).items():
            levels: list[NoiseLevel] = []

            def predict(x: Tensor, level: NoiseLevel, seen: Any = levels) -> Prediction:
                seen.append(level)
                return Prediction(x * 0.5, x * 0.5)

            sample(part, schedule, normal(3, 2).to(dtype), 4, predict=predict)
            wide = torch.promote_types(dtype, torch.float32)
            start = levels[0].time.double()
            expect_close("the first time", start, torch.ones(3), 1e-6, of="times[0] = 1")
            for level in levels:
                _expect_level(name, level, schedule, wide)


@LOOP.check()
def samples_are_shaped_like_x_T(case: Case) -> None:
    """Samples have the shape, the dtype and the device of x_T, for any event."""
    part = case.fresh()

    def predict(x: Tensor, level: NoiseLevel) -> Prediction:
        alpha, sigma = (v.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1)) for v in level[1:3])
        return Prediction(alpha * x, sigma * x)

    devices = ["cpu", "meta", *(["cuda"] if torch.cuda.is_available() else [])]
    for schedule in taken(part).values():
        for event in ((), (3,), (5, 2), (1, 3, 4)):
            for dtype in (torch.float64, torch.float32, torch.bfloat16):
                for device in devices if event == (3,) else ["cpu"]:
                    x_T = normal(2, *event).to(device, dtype)
                    x = sample(part, schedule, x_T, 3, predict=predict)
                    want, got = ((v.shape, v.dtype, v.device.type) for v in (x_T, x))
                    expect(want == got, f"samples must be {want} like x_T, got {got}.")


@LOOP.check()
def its_grid_runs_from_noise_to_data(case: Case) -> None:
    """times(schedule, n) are n + 1 times that fall from 1 to 0, and samples on them are finite.

    For any n, on tables too, where all are times of levels: linear, cosine, zero terminal SNR.
    """
    part = case.fresh()
    tried = taken(part)
    if tried.pop("discrete", None) is not None:
        tried.update(tables())
    for name, schedule in tried.items():
        most = schedule.default_steps if isinstance(schedule, DiscreteSchedule) else 30
        own = part.times(schedule)
        expect(
            len(own) == (part.steps or len(own) - 1) + 1,
            f"times(schedule) must be {part.steps} + 1 as its steps say, got {len(own)}.",
        )
        for n in (1, 2, 3, most // 2, most - 1, most):
            times = part.times(schedule, n)
            fine = times.shape == (n + 1,) and times.dtype is torch.float64
            expect(
                fine and times[0] == 1 and times[-1] == 0 and bool((times.diff() < 0).all()),
                f"times({name}, {n}) must be {n + 1} float64 numbers that fall from 1 to 0, got "
                f"{times.dtype} {times.tolist()[:3]} ... of shape {tuple(times.shape)}.",
            )
            if isinstance(schedule, DiscreteSchedule):
                whole = times * schedule.steps
                expect_close(f"T * times({n})", whole, whole.round(), 1e-9, of="whole numbers")
            x = part(ORACLE.predict, schedule, normal(2, 2), times=times, generator=Scripted())
            expect(
                bool(x.isfinite().all()),
                f"samples in {n} step(s) must be finite, got {x.tolist()} ({name}). Is it the step "
                "from pure noise (alpha = 0), or that to data (sigma = 0)?",
            )


@LOOP.check()
def wrong_times_are_refused(case: Case) -> None:
    """Times that do not fall from at most 1 to 0, in at least one step, are refused in words."""
    part = case.fresh()
    schedule = next(iter(taken(part).values()))
    wrong = {
        "no step": [1.0],
        "times that rise": [0.0, 1.0],
        "times that end before the data": [1.0, 0.5],
        "a time twice": [1.0, 0.5, 0.5, 0.0],
        "a time above 1": [1.5, 0.0],
        "a table of times": [[1.0, 0.0]],
    }
    for what, values in wrong.items():
        times = torch.tensor(values, dtype=torch.float64)
        expect_refused(
            what,
            partial(part, ORACLE.predict, schedule, MEAN[None], times=times),
            UsageError,
        )


def _expect_level(
    name: str, level: NoiseLevel, schedule: NoiseSchedule, dtype: torch.dtype
) -> None:
    """Fail unless it is the level of the schedule at its time, ``(3,)`` in a dtype."""
    for field, value in schedule.at(level.time)._replace(reverse=None).columns.items():
        got = getattr(level, field)
        fine = got is not None and tuple(got.shape) == (3,)
        expect(
            fine and got.dtype is (torch.int64 if field == "step" else dtype),
            f"{field} must be (3,) for 3 rows, {dtype} or int64, got "
            f"{None if got is None else (tuple(got.shape), got.dtype)} ({name} schedule).",
        )
        if isinstance(schedule, DiscreteSchedule) or field in ("alpha", "sigma"):
            there = value.isfinite()
            what = f"{field} that the network is given ({name} schedule)"
            expect_close(what, got[there], value[there], 1e-4, of="schedule.at(time)")
