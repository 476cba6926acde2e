"""The promises of a NoiseSchedule; a `DiscreteSchedule` makes some more about its tables."""

from __future__ import annotations

import copy
import math
import pickle
from functools import partial

import torch
from torch import Tensor, nn

from corekit.diffusion.schedules import SIGNAL_LEFT, end_of
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect, expect_close, expect_equal
from corekit.testing.refusal import expect_refused
from corekit.testing.suites.discrete_schedule import DISCRETE, fields_of, is_discrete

SUITE = Suite()
CLEAN = 0.01
"""How far alpha may be from 1, and sigma from 0, at time 0."""


@SUITE.check()
def each_time_has_a_level_of_its_own(case: Case) -> None:
    """Every number of a level is ``(B,)``: one per time, whatever the other times are."""
    schedule = case.fresh()
    time = _times(schedule)
    before = time.clone()
    whole = schedule.at(time)
    expect_equal("the times must be left as they were, but at() changed them", time, before)
    expect_close("the field `time`", whole.time, time, 1e-9, of="the time that was asked for")
    for picked in (torch.arange(len(time) - 1, -1, -1), torch.tensor([0]), torch.arange(0)):
        some = schedule.at(time[picked])
        for name, value in fields_of(some).items():
            expect(
                tuple(value.shape) == (len(picked),),
                f"{name} of {len(picked)} time(s) must have shape ({len(picked)},), "
                f"got {tuple(value.shape)}.",
            )
            want = fields_of(whole)[name][picked]
            expect_equal(f"{name} of a time must not depend on the other times", value, want)


@SUITE.check()
def the_dtype_is_that_of_the_time(case: Case) -> None:
    """float32 times give float32 levels, float64 times levels that are computed in float64."""
    schedule = case.fresh()
    for dtype in (torch.float32, torch.float64):
        for name, value in fields_of(schedule.at(_times(schedule).to(dtype))).items():
            expect(
                value.dtype is (torch.int64 if name == "step" else dtype),
                f"{name} must be {dtype} for {dtype} times (steps int64), got {value.dtype}.",
            )
    level = schedule.at(_times(schedule))
    both = torch.cat([level.alpha, level.sigma])
    expect(
        not torch.equal(both, both.float().double()),
        "alpha and sigma of float64 times must be computed in float64, got numbers that float32 "
        "holds exactly. Samplers take the small difference of two variances near 1.",
    )


@SUITE.check()
def the_device_is_that_of_the_time(case: Case) -> str:
    """Levels are made where the times are, without a look at their values."""
    names = ["meta", *(["cuda"] if torch.cuda.is_available() else [])]
    for name in names:
        schedule = case.fresh()
        time = _times(schedule).float().to(name)
        levels = [schedule.at(time)]
        if isinstance(schedule, DiscreteSchedule):
            levels.append(schedule.level(torch.zeros(3, dtype=torch.int64, device=name)))
        for field, value in (item for level in levels for item in fields_of(level).items()):
            expect(
                value.device.type == name,
                f"{field} must be on {name}, got {value.device}. Move tables with "
                ".to(time.device), make new tensors with torch.ones_like(time).",
            )
    return " and ".join(names)


@SUITE.check()
def levels_are_finite_and_in_range(case: Case) -> None:
    """On all of [0, 1] alpha lies in [0, 1] and sigma is finite and not negative."""
    level = case.fresh().at(_times(case.fresh()))
    for name, value in (("alpha", level.alpha), ("sigma", level.sigma)):
        high = 1 + 1e-12 if name == "alpha" else math.inf
        expect(
            bool(value.isfinite().all()) and bool(((value >= 0) & (value <= high)).all()),
            f"{name} must be finite and at least 0{', at most 1' if name == 'alpha' else ''}, got "
            f"{value.min().item():.6g} ... {value.max().item():.6g}.",
        )


@SUITE.check()
def at_time_zero_the_data_are_clean(case: Case) -> str:
    """alpha(0) = 1 and sigma(0) = 0, or so little noise that nobody sees it."""
    start = case.fresh().at(torch.zeros(1, dtype=torch.float64))
    alpha, sigma = start.alpha.item(), start.sigma.item()
    expect(
        abs(alpha - 1) <= CLEAN and sigma <= (0 if is_discrete(case) else CLEAN),
        f"alpha must be 1 and sigma 0 at time 0, got alpha = {alpha:.6g} and sigma = {sigma:.6g}. "
        "Time runs from data to noise; level t = 0 of a table lies at time 1 / T, not at 0.",
    )
    return f"alpha {alpha:.6g}, sigma {sigma:.2g}"


@SUITE.check()
def at_time_one_there_is_noise(case: Case) -> str:
    """At time 1 at most 2 % of the variance are those of unit-variance data."""
    end = end_of(case.fresh())
    signal, noise = end.alpha.square().item(), end.sigma.square().item()
    left = signal / (signal + noise)
    expect(
        left <= SIGNAL_LEFT,
        f"alpha^2 / (alpha^2 + sigma^2) at time 1 must be at most {SIGNAL_LEFT}, got {left:.4g}. "
        "Sampling starts from pure noise, and training must have seen it. If the schedule is "
        "short on purpose, name this check in Conformance.expected_failures.",
    )
    return f"{left:.2g} of the variance is left"


@SUITE.check()
def signal_falls_and_noise_grows(case: Case) -> None:
    """Over time alpha never grows, sigma never falls, and the log-SNR falls strictly."""
    level = case.fresh().at(_times(case.fresh()))
    ratio = level.alpha / level.sigma
    for what, rule, wrong in (
        ("alpha", "never grow", level.alpha.diff() > 1e-12),
        ("sigma", "never fall", level.sigma.diff() < -1e-12),
        ("alpha / sigma", "fall strictly", ~(ratio[1:] < ratio[:-1])),
    ):
        at = [f"{time:.4g}" for time in level.time[1:][wrong].tolist()]
        expect(
            not at,
            f"{what} must {rule} over time, got a step the wrong way before time "
            f"{', '.join(at[:3])}{' ...' if at[3:] else ''}. Time runs from data to noise.",
        )


@SUITE.check()
def log_snr_is_that_of_alpha_and_sigma(case: Case) -> str:
    """log_snr = log(alpha^2 / sigma^2): of squares, and of signal over noise."""
    level = case.fresh().at(_levels(case.fresh()))
    expect(
        level.log_snr is not None,
        "log_snr must be given, got None: it is 2 * (alpha / sigma).log().",
    )
    want = 2 * (level.alpha.log() - level.sigma.log())
    there = want.isfinite()
    return expect_close(
        "log_snr", level.log_snr[there], want[there], 1e-7, of="log(alpha^2 / sigma^2)"
    )


@SUITE.check()
def slopes_are_those_of_alpha_and_sigma(case: Case) -> str:
    """dalpha and dsigma, where given, are the derivatives with respect to time.

    Those of a table lie between the differences to the levels before and after.
    """
    schedule, step, detail = case.fresh(), 1e-6, "none to compare"
    time = _levels(schedule)
    if isinstance(schedule, DiscreteSchedule):
        step, time = 1 / schedule.steps, time[:-1]
    levels = [schedule.at(t) for t in (time - step, time, time + step)]
    for name in ("alpha", "sigma"):
        slope = getattr(levels[1], f"d{name}")
        if slope is None or not len(time):
            continue
        before, here, after = (getattr(level, name) for level in levels)
        left, right = (here - before) / step, (after - here) / step
        error = (slope - (left + right) / 2).abs()
        slack = (right - left).abs() / 2 + 1e-5 * (1 + right.abs())
        expect(
            bool((error <= slack).all()),  # NaN fails
            f"d{name} must be the derivative of {name} with respect to time in [0, 1], got a "
            f"difference of {error.max().item():.3g} from a finite difference. "
            "Is the sign that of time from data to noise, and is there a factor T?",
        )
        detail = f"largest difference {error.max().item():.1e}"
    return detail


@SUITE.check()
def time_of_inverts_log_snr(case: Case) -> str:
    """time_of(log_snr) is the time that has it."""
    schedule = case.fresh()
    time = _levels(schedule)
    level = schedule.at(time)
    log_snr = 2 * (level.alpha.log() - level.sigma.log())
    there = log_snr.isfinite()
    got = schedule.time_of(log_snr[there])
    allowed = max(case.how.tolerance, 1e-6)
    return expect_close("time_of(log_snr)", got, time[there], allowed, of="the time")


@SUITE.check()
def times_run_from_noise_to_data(case: Case) -> None:
    """times(n) are n + 1 times in float64, falling from 1 to 0; a table only has its own."""
    schedule = case.fresh()
    most = schedule.default_steps
    expect(most >= 1, f"default_steps must be at least 1, got {most}.")
    for n in sorted({1, math.ceil(most / 3), most}):
        times = schedule.times(n)
        fine = times.shape == (n + 1,) and times.dtype is torch.float64
        expect(
            fine and times[0] == 1 and times[-1] == 0 and bool((times.diff() < 0).all()),
            f"times({n}) must be {n + 1} float64 numbers that fall from 1 to 0, got "
            f"{times.dtype} {times.tolist()[:3]} ... of shape {tuple(times.shape)}.",
        )
        if isinstance(schedule, DiscreteSchedule):
            whole = times * schedule.steps
            expect_close(f"T * times({n})", whole, whole.round(), 1e-9, of="whole numbers")
    if isinstance(schedule, DiscreteSchedule):
        for wrong in (0, schedule.steps + 1):
            expect_refused(f"times({wrong})", partial(schedule.times, wrong), UsageError)


@SUITE.check()
def it_is_a_constant(case: Case) -> None:
    """It is no module, holds nothing to learn, and a copied or pickled one is the same."""
    schedule = case.fresh()
    want = fields_of(schedule.at(_times(schedule)))
    learned = [k for k, v in vars(schedule).items() if isinstance(v, Tensor) and v.requires_grad]
    expect(
        not isinstance(schedule, nn.Module) and not learned,
        "it must be a constant and no module, got "
        f"{'parameters ' + ', '.join(learned) if learned else 'an nn.Module'}. A checkpoint does "
        "not hold it: the spec does.",
    )
    for how, other in (
        ("copied", copy.deepcopy(schedule)),
        ("pickled", pickle.loads(pickle.dumps(schedule))),
    ):
        for name, value in fields_of(other.at(_times(schedule))).items():
            expect_equal(f"{name} of a {how} schedule must be the same", value, want[name])


@SUITE.check()
def inference_mode_leaves_no_trace(case: Case) -> None:
    """What is first asked for in inference mode, as a sampler does, serves training afterwards."""
    for dtype in (torch.float64, torch.float32):
        schedule = case.fresh()
        time = _times(schedule).to(dtype)
        with torch.inference_mode():
            schedule.at(time)
        x = torch.ones_like(time, requires_grad=True)
        (schedule.at(time).alpha * x).sum().backward()


def _levels(schedule: NoiseSchedule) -> Tensor:
    """Times of noisy levels, float64: all that a table has, else many odd ones inside (0, 1)."""
    if isinstance(schedule, DiscreteSchedule):
        return torch.arange(1, schedule.steps + 1, dtype=torch.float64) / schedule.steps
    return (torch.arange(200, dtype=torch.float64) + 1 / 3) / 200


def _times(schedule: NoiseSchedule) -> Tensor:
    """Those, and both ends."""
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return torch.cat([ends, _levels(schedule)]).unique()


SUITE.checks += DISCRETE.checks
