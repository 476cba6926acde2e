"""The promises of a TimestepSampler: on a table of levels, and on a continuous schedule."""

from __future__ import annotations

import torch
from torch import Tensor

from corekit.interfaces.draws import RowDraws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import NoiseLevel
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.exercise import Exercise, Tensors
from corekit.testing.module import module_checks
from corekit.testing.timesteps import (
    CPU,
    ROWS,
    Extreme,
    expect_unbiased,
    many,
    seeded,
    taken,
    teach,
)

SHARED = {
    "every_tensor_is_a_parameter_or_a_buffer",
    "a_state_dict_restores_it",
    "copies_are_equal_and_separate",
    "it_builds_on_the_meta_device",
}
"""The checks of every module that say something here."""

SUITE = Suite()


def learns(case: Case) -> bool:
    """Whether it learns from losses."""
    return type(case.part).observe is not TimestepSampler.observe


def unbiased(case: Case) -> bool:
    """Whether its weights keep the expected loss."""
    return type(case.part).unbiased


@SUITE.check()
def each_row_has_a_level_and_a_weight(case: Case) -> None:
    """n levels of ``(n,)`` tensors, float32 or wider, and None or n weights that are positive."""
    part = case.fresh()
    for name, schedule in taken(part).items():
        for n in (0, 1, 5):
            level, weight = part.sample(n, schedule, seeded(0), CPU)
            weights = {} if weight is None else {"weight": weight}
            for field, value in {**level.columns, **weights}.items():
                fine = value.dtype in (torch.float32, torch.float64) or field == "step"
                expect(
                    tuple(value.shape) == (n,) and fine,
                    f"{field} of {n} rows must have shape ({n},) and float32 or float64, got "
                    f"{tuple(value.shape)} and {value.dtype} ({name} schedule).",
                )
            if weight is not None:
                expect(
                    bool((weight.isfinite() & (weight > 0)).all()),
                    f"weights must be positive and finite, got {weight.tolist()} ({name} schedule)",
                )


@SUITE.check()
def levels_are_those_of_the_schedule(case: Case) -> str:
    """Each level is what the schedule has at its time: all fields belong together."""
    part, detail = case.fresh(), ""
    for name, schedule in taken(part).items():
        level, _ = part.sample(256, schedule, seeded(0), CPU)
        want = schedule.at(level.time)
        got, hint = level.columns, "Draw times or integers, and ask schedule.at or schedule.level."
        of = "schedule.at(time)"
        for field, value in want.columns.items():
            what = f"{field} of a drawn level ({name} schedule)"
            expect(field in got, f"{what} must be as at() gives it, got None.")
            found = got[field].double()
            detail = expect_close(what, found, value.double(), 1e-5, of=of, hint=hint)
    return detail


@SUITE.check()
def times_stay_in_range_at_the_edge_of_the_draws(case: Case) -> None:
    """The smallest and the largest numbers that can be drawn give times in (0, 1], with noise."""
    part = case.fresh()
    for name, schedule in taken(part).items():
        for draws in (Extreme(high=False), Extreme(high=True)):
            level, weight = part.sample(3, schedule, draws, CPU)
            expect(
                bool(((level.time > 0) & (level.time <= 1) & (level.sigma > 0)).all()),
                f"times must lie in (0, 1], got {level.time.tolist()} for the "
                f"{'largest' if draws.high else 'smallest'} numbers ({name} schedule). Uniform "
                "numbers are in [0, 1): take 1 - u, as clean data have no noise to learn from.",
            )
            fine = weight is None or bool((weight.isfinite() & (weight > 0)).all())
            expect(fine, f"weights must be positive and finite there, got {weight}.")


@SUITE.check(unbiased)
def weighted_means_are_those_of_uniform_levels(case: Case) -> str:
    """E[weight * f(time)] is the mean of f over all levels, whatever f is."""
    part = case.fresh()
    return expect_unbiased(part, "")


@SUITE.check(lambda case: learns(case) and unbiased(case))
def what_it_observes_leaves_it_unbiased(case: Case) -> str:
    """The same after it has seen losses that differ widely between levels."""
    part = case.fresh()
    teach(part)
    return expect_unbiased(part, " after losses were observed")


@SUITE.check(unbiased)
def all_ranks_together_are_unbiased(case: Case) -> str:
    """The same over the rows of three processes, each with random numbers of its own."""
    return expect_unbiased(case.fresh(), " over the rows of all ranks", world=3)


@SUITE.check(unbiased)
def every_level_can_be_drawn(case: Case) -> str:
    """Every level of a table comes up, among as many draws as a short training makes."""
    part, detail = case.fresh(), "no table"
    schedule = taken(part).get("discrete")
    if isinstance(schedule, DiscreteSchedule):
        time, _ = many(part, schedule)
        counts = torch.bincount((time * schedule.steps).round().long().flatten())[1:]
        missing = [t for t in range(schedule.steps) if t >= len(counts) or not counts[t]]
        expect(
            not missing,
            f"every t in 0 ... {schedule.steps - 1} must be drawn, got none of {missing[:5]} in "
            f"{time.numel()} draws. Is the range of the integers off by one?",
        )
        detail = f"{counts.min().item()} to {counts.max().item()} draws of each"
    return detail


@SUITE.check()
def the_draws_alone_decide(case: Case) -> None:
    """The same draws give the same levels, others give others; no other random number is used."""
    part = case.fresh()
    for name, schedule in taken(part).items():
        for what, make in (
            ("a generator", seeded),
            ("a generator per row", lambda seed: RowDraws(seed, range(9))),
        ):
            state = torch.get_rng_state()
            first, again, other = (part.sample(9, schedule, make(s), CPU) for s in (0, 0, 1))
            expect_equal(
                "torch's global random state must be left alone, but it moved",
                torch.get_rng_state(),
                state,
                "Take every number from draws.uniform, draws.normal or draws.integers.",
            )
            what = f"with {what} on a {name} schedule"
            _expect_same(f"the same draws must give the same {{}} {what}", first, again)
            expect(
                not torch.equal(first[0].time, other[0].time),
                f"other draws must give other times {what}, got the same.",
            )


@SUITE.check()
def levels_are_on_the_device_that_is_asked_for(case: Case) -> str:
    """Levels and weights are on ``device``, whatever the default device is."""
    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for name in names:
        part = case.fresh().to(name)
        for schedule in taken(case.fresh()).values():
            draws, device = seeded(0), torch.device(name)
            with torch.device("meta"):  # where a tensor lands that is made without device=
                level, weight = part.sample(3, schedule, draws, device)
            for value in (level.time, level.alpha, *([] if weight is None else [weight])):
                expect(
                    value.device.type == name,
                    f"levels and weights must be on {name}, got {value.device}. Make new tensors "
                    "with device=device.",
                )
    return " and ".join(names)


@SUITE.check(learns)
def what_it_observes_is_in_its_state_dict(case: Case) -> None:
    """Losses change what is drawn, and a copy restored from the state dict draws the same."""
    part, other, untaught = case.fresh(), case.fresh(seed=2), case.fresh()
    teach(part)
    other.load_state_dict(part.state_dict())
    changed = False
    for name, schedule in taken(part).items():
        taught = part.sample(64, schedule, seeded(0), CPU)
        restored = other.sample(64, schedule, seeded(0), CPU)
        _expect_same(
            f"{{}} of a restored copy must be the same on a {name} schedule", taught, restored
        )
        before = untaught.sample(64, schedule, seeded(0), CPU)
        changed |= not torch.equal(taught[0].time, before[0].time)
        if taught[1] is not None and before[1] is not None:
            changed |= not torch.equal(taught[1], before[1])
    expect(
        changed,
        "losses that differ between levels must change the levels or the weights, got the same. "
        "A sampler that does not learn leaves observe() alone.",
    )


class _TimestepExercise(Exercise):
    """Draws from a table or a continuous schedule, with one generator."""

    def inputs(self, case: Case, dtype: torch.dtype, rows: int = ROWS) -> Tensors:
        """Row numbers only."""
        return {"rows": torch.arange(rows)}

    def __call__(self, part: TimestepSampler, inputs: Tensors) -> Tensors:
        """The times and weights of each schedule that it takes."""
        outputs = {}
        for name, schedule in taken(part).items():
            level, weight = part.sample(len(inputs["rows"]), schedule, seeded(0), CPU)
            outputs[f"time ({name})"] = level.time
            if weight is not None:
                outputs[f"weight ({name})"] = weight
        return outputs


def _expect_same(
    rule: str, first: tuple[NoiseLevel, Tensor | None], second: tuple[NoiseLevel, Tensor | None]
) -> None:
    expect_equal(rule.format("times"), first[0].time, second[0].time)
    if first[1] is not None and second[1] is not None:
        expect_equal(rule.format("weights"), first[1], second[1])


SUITE.checks += [check for check in module_checks(_TimestepExercise()) if check.name in SHARED]
