"""Samplers with one mistake each; `Right`, `Drawing` and `Heun` have none."""

from functools import partial

import torch

from corekit.diffusion.process import target_of, transition
from corekit.errors import UsageError
from corekit.interfaces.draws import as_draws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from teeth import Tooth


class Right:
    """From x_0 and eps straight to the next level. Every wrong one below changes a line of it."""

    order, steps, noise_share = 1, None, 0.0

    def times(self, schedule, steps=None):
        return schedule.times(steps or self.steps or schedule.default_steps)

    @torch.no_grad()
    def __call__(self, predict, schedule, x_T, *, times, generator=None, callback=None):
        times = self.checked(times)
        levels = [self.level(schedule, time, x_T) for time in times]
        x, draws = x_T, as_draws(generator)
        for i in range(len(times) - 1):
            x, prediction = self.step(predict, x, levels[i], levels[i + 1], draws)
            if callback is not None:
                callback(i + 1, x, prediction)
        return x

    def checked(self, times):
        times = times.detach().double()
        fine = times.ndim == 1 and len(times) > 1 and bool((times.diff() < 0).all())
        if not (fine and times[-1] == 0 and times[0] <= 1):
            raise UsageError(f"Right: times must fall from at most 1 to 0, got {times.tolist()}.")
        return times

    def level(self, schedule, time, x_T):
        wide = torch.promote_types(x_T.dtype, torch.float32)
        level = schedule.at(time.reshape(1))
        return level.map(
            lambda c: c.to(x_T.device, wide if c.is_floating_point() else c.dtype).expand(len(x_T))
        )

    def step(self, predict, x, t, s, draws):
        prediction = predict(x, t)
        nu = self.spread(t, s)
        kept = per_row((s.sigma.square() - nu.square()).clamp(min=0).sqrt(), x)
        x = per_row(s.alpha, x) * prediction.x_0 + kept * prediction.eps
        if self.noise_share and x.numel():
            x = x + per_row(nu, x) * self.noise(draws, x)
        return x, prediction

    def spread(self, t, s):
        return self.noise_share * transition(t, s).variance.sqrt()

    def noise(self, draws, x):
        return draws.normal("noise", tuple(x.shape), x)


def per_row(value, x):
    return value.to(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))


class Drawing(Right):
    """One draw of q(x_s | x_t, x_0) per step."""

    noise_share = 1.0


class Heun(Right):
    """The trapezoidal rule for the probability flow; continuous schedules only."""

    order = 2

    def level(self, schedule, time, x_T):
        if isinstance(schedule, DiscreteSchedule):
            raise UsageError("Heun: the schedule must be continuous, got a table.")
        return super().level(schedule, time, x_T)

    def step(self, predict, x, t, s, draws):
        prediction = predict(x, t)
        first = target_of("velocity", *prediction[:2], t)
        length = per_row(s.time - t.time, x)
        second = target_of("velocity", *predict(x + length * first, s)[:2], s)
        return x + length / 2 * (first + second), prediction


class WithoutClaims(Right):
    noise_share = property()


class ClaimsTooMuch(Right):
    order = 2


class SkipsPureNoise(Heun):
    """Where log-SNR is infinite, the step is left out."""

    def step(self, predict, x, t, s, draws):
        x_s, prediction = super().step(predict, x, t, s, draws)
        return (x if bool((t.alpha < 1e-8).all()) else x_s), prediction


class AsksAtTheNextLevel(Right):
    def step(self, predict, x, t, s, draws):
        prediction = predict(x, s._replace(sigma=s.sigma.clamp(min=1e-3)))
        return per_row(s.alpha, x) * prediction.x_0 + per_row(
            s.sigma, x
        ) * prediction.eps, prediction


class EulerForHeun(Heun):
    """The second slope is that of the first point."""

    def step(self, predict, x, t, s, draws):
        prediction = predict(x, t)
        slope = target_of("velocity", *prediction[:2], t)
        return x + per_row(s.time - t.time, x) * slope, prediction


class DrawsTooMuch(Drawing):
    """The variance of the forward step, beside the mean for that of the posterior."""

    def step(self, predict, x, t, s, draws):
        x, prediction = super().step(predict, x, t, s, draws)
        return x + 0.3 * per_row(s.sigma, x) * self.noise(draws, x), prediction


class VarianceForDeviation(Drawing):
    """The marginals stay right, as the kept noise makes up for it."""

    def spread(self, t, s):
        return transition(t, s).variance


class HalfTheClaim(Drawing):
    def spread(self, t, s):
        return 0.5 * super().spread(t, s)


class CallsItZ(Drawing):
    def noise(self, draws, x):
        return draws.normal("z", tuple(x.shape), x)


class DrawsForNothing(Right):
    def step(self, predict, x, t, s, draws):
        self.noise(draws, x)
        return super().step(predict, x, t, s, draws)


class DrawsFromTheGlobalGenerator(Drawing):
    def noise(self, draws, x):
        return torch.randn_like(x)


class RowsMix(Right):
    def step(self, predict, x, t, s, draws):
        x, prediction = super().step(predict, x, t, s, draws)
        return x * (1 + 1e-3 * per_row(s.time, x) * x.mean()), prediction


class RemembersTheLastRun(Right):
    """A second-order correction from the step before, which may be of the run before."""

    last = None

    def step(self, predict, x, t, s, draws):
        x, prediction = super().step(predict, x, t, s, draws)
        if self.last is not None and self.last.shape == x.shape:
            x = x + 1e-3 * per_row(s.time, x) * (prediction.eps - self.last)
        self.last = prediction.eps
        return x, prediction


class HoldsALambda(Right):
    def __init__(self):
        self.warp = lambda time: time


class InPlace(Right):
    def step(self, predict, x, t, s, draws):
        new, prediction = super().step(predict, x, t, s, draws)
        return x.copy_(new), prediction


class KeepsTheGraph(Right):
    def __call__(self, *args, **options):
        return Right.__call__.__wrapped__(self, *args, **options)


class CountsFromZero(Right):
    def __call__(self, *args, callback=None, **options):
        def shifted(done, x, prediction):
            if callback is not None:
                callback(done - 1, x, prediction)

        return super().__call__(*args, callback=shifted, **options)


class LastStepUnseen(Right):
    def __call__(self, *args, times, callback=None, **options):
        def most(done, x, prediction):
            if callback is not None and done < len(times) - 1:
                callback(done, x, prediction)

        return super().__call__(*args, times=times, callback=most, **options)


class OneLevelForAll(Right):
    """A level of one row, where networks want one per row."""

    def step(self, predict, x, t, s, draws):
        def whole(x, level):
            return predict(x, level.map(lambda column: column[:1]))

        return super().step(whole, x, t, s, draws)


class LevelInHalfPrecision(Right):
    def level(self, schedule, time, x_T):
        level = super().level(schedule, time, x_T)
        return level.map(lambda c: c.to(x_T.dtype) if c.is_floating_point() else c)


class WorksInSinglePrecision(Right):
    def __call__(self, predict, schedule, x_T, **options):
        return super().__call__(predict, schedule, x_T.float(), **options)


class WaitsForTheDevice(Right):
    def step(self, predict, x, t, s, draws):
        x, prediction = super().step(predict, x, t, s, draws)
        return (x if x.abs().max().item() < 1e6 else x * 0), prediction


class OffTheTable(Right):
    """A grid of angles between the levels."""

    def times(self, schedule, steps=None):
        even = schedule.times(steps or schedule.default_steps)
        return even.where(even == even.round(), even**1.01)


class TwoTimesOfOneLevel(Right):
    """Rounded to the nearest level, which may be taken already."""

    def times(self, schedule, steps=None):
        times = super().times(schedule, steps) ** 2
        if isinstance(schedule, DiscreteSchedule):
            return (times * schedule.steps).round() / schedule.steps
        return times


class StartsBelowTheNoise(Right):
    def times(self, schedule, steps=None):
        return super().times(schedule, (steps or schedule.default_steps) + 1)[1:]


class LogSnrFromNoise(Right):
    """The weights of DPM-Solver from a difference of log-SNRs, infinite in a step from noise."""

    def step(self, predict, x, t, s, draws):
        prediction = predict(x, t)
        decay = 1 - torch.exp((t.log_snr - s.log_snr).clamp(max=0) / 2)
        last = (t.log_snr * 0) + (s.sigma / t.sigma)
        return per_row(last, x) * x + per_row(s.alpha * decay, x) * prediction.x_0, prediction


class TakesAnyTimes(Right):
    def checked(self, times):
        return times.detach().double()


RIGHT = [Right, Drawing, Heun]
_bug = partial(Tooth, "sampler")
TEETH = [
    _bug("it does not say how much noise it draws", WithoutClaims, "it_says_what_it_claims"),
    _bug("order 1 claims to be 2", ClaimsTooMuch, "the_error_falls_as_claimed"),
    _bug("Heun's method uses the first slope twice", EulerForHeun, "the_error_falls_as_claimed"),
    _bug(
        "the step from pure noise is left out", SkipsPureNoise, "the_end_point_converges_as_claimed"
    ),
    _bug(
        "the network is asked at the next level: off by one",
        AsksAtTheNextLevel,
        "the_error_falls_as_claimed",
    ),
    _bug("too much noise is added", DrawsTooMuch, "the_marginals_converge_as_claimed"),
    _bug(
        "a step draws with the posterior variance for its square root",
        VarianceForDeviation,
        "a_step_draws_the_claimed_share_of_the_posterior",
    ),
    _bug(
        "a step draws half of what it claims",
        HalfTheClaim,
        "a_step_draws_the_claimed_share_of_the_posterior",
    ),
    _bug("the noise has another name", CallsItZ, "it_draws_noise_or_nothing"),
    _bug("a deterministic sampler draws", DrawsForNothing, "it_draws_noise_or_nothing"),
    _bug(
        "noise is drawn from torch's global generator",
        DrawsFromTheGlobalGenerator,
        "the_draws_alone_decide",
    ),
    _bug("a row depends on the mean of the batch", RowsMix, "rows_do_not_mix"),
    _bug(
        "the last step of a run enters the next run",
        RemembersTheLastRun,
        "it_keeps_nothing_between_runs",
    ),
    _bug(
        "a lambda is kept, so it cannot be pickled", HoldsALambda, "it_keeps_nothing_between_runs"
    ),
    _bug("x_T is changed in place", InPlace, "nothing_given_is_written_to"),
    _bug("the graph of every step is kept", KeepsTheGraph, "no_gradient_is_kept"),
    _bug("the callback counts from 0", CountsFromZero, "the_callback_sees_every_step"),
    _bug("the callback misses the last step", LastStepUnseen, "the_callback_sees_every_step"),
    _bug(
        "the network gets one level for all rows",
        OneLevelForAll,
        "it_asks_at_levels_of_the_schedule",
    ),
    _bug(
        "levels are rounded to bfloat16",
        LevelInHalfPrecision,
        "it_asks_at_levels_of_the_schedule",
    ),
    _bug("samples come back in float32", WorksInSinglePrecision, "samples_are_shaped_like_x_T"),
    _bug("each step waits for the device", WaitsForTheDevice, "samples_are_shaped_like_x_T"),
    _bug("the grid leaves the table", OffTheTable, "its_grid_runs_from_noise_to_data"),
    _bug("a level is taken twice", TwoTimesOfOneLevel, "its_grid_runs_from_noise_to_data"),
    _bug("the noisiest level is left out", StartsBelowTheNoise, "its_grid_runs_from_noise_to_data"),
    _bug("pure noise gives NaN", LogSnrFromNoise, "its_grid_runs_from_noise_to_data"),
    _bug("any times are taken", TakesAnyTimes, "wrong_times_are_refused"),
]
