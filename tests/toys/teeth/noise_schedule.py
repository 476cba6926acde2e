"""Noise schedules with one mistake each; `Right` and `RightTable` have none."""

import math
from functools import partial

import numpy as np
import torch
from torch import nn

from corekit.diffusion.schedules import linear_betas
from corekit.interfaces.noise_schedule import DiscreteSchedule, NoiseSchedule
from corekit.interfaces.records import NoiseLevel
from teeth import Tooth


class Right(NoiseSchedule):
    """alpha = cos(pi/2 t), sigma = sin(pi/2 t). Every continuous wrong one changes a line of it."""

    def at(self, time):
        angle = time * (math.pi / 2)
        alpha, sigma = angle.cos(), angle.sin()
        slope = math.pi / 2
        log_snr = 2 * (alpha.log() - sigma.log())
        return NoiseLevel(time, alpha, sigma, -slope * sigma, slope * alpha, log_snr)

    def time_of(self, log_snr):
        return torch.atan(torch.exp(-log_snr / 2)) * (2 / math.pi)


class RightTable(DiscreteSchedule):
    def __init__(self):
        super().__init__(linear_betas(40))


class DependsOnTheBatch(Right):
    def at(self, time):
        return super().at(time / time.max())


class ClampsInPlace(Right):
    def at(self, time):
        return super().at(time.clamp_(1e-3, 1))


class SinglePrecisionInside(Right):
    def at(self, time):
        return super().at(time.float()).map(lambda column: column.to(time.dtype))


class TableOnTheCpu(Right):
    def at(self, time):
        return super().at(time)._replace(dalpha=torch.ones(len(time), dtype=time.dtype))


class SigmaFromTheRatio(Right):
    """Rectified flow, whose sigma is 0 times infinity at time 1."""

    def at(self, time):
        alpha, one = 1 - time, torch.ones_like(time)
        log_snr = 2 * (alpha.log() - time.log())
        return NoiseLevel(time, alpha, alpha * (-log_snr / 2).exp(), -one, one, log_snr)


class StartsLate(Right):
    """The first 5 % of the time are left out, so that samples keep noise."""

    def at(self, time):
        return super().at(0.05 + 0.95 * time)._replace(time=time)


class EndsWithSignal(Right):
    def at(self, time):
        return super().at(0.8 * time)._replace(time=time)


class RunsBackwards(Right):
    def at(self, time):
        return super().at(1 - time)._replace(time=time)


class LogOfAmplitudes(Right):
    def at(self, time):
        level = super().at(time)
        return level._replace(log_snr=level.log_snr / 2)


class SlopeOfTheWrongSign(Right):
    def at(self, time):
        level = super().at(time)
        return level._replace(dalpha=-level.dalpha)


class TimeOfTheAmplitudeRatio(Right):
    def time_of(self, log_snr):
        return torch.atan(torch.exp(-log_snr)) * (2 / math.pi)


class TimesFromDataToNoise(Right):
    def times(self, steps):
        return super().times(steps).flip(0)


class OneTimeTooFew(Right):
    def times(self, steps):
        return torch.linspace(1.0, 0.0, steps, dtype=torch.float64)


class HoldsAParameter(Right):
    def __init__(self):
        self.rate = nn.Parameter(torch.ones(()))


class HoldsALambda(Right):
    def __init__(self):
        self.warp = lambda time: time


class KeepsTheLastLevel(Right):
    last = None

    def at(self, time):
        if self.last is None or not torch.equal(self.last.time, time):
            self.last = super().at(time)
        return self.last


class SlopesPerStep(RightTable):
    """Differences between levels, not divided by the time between them."""

    def at(self, time):
        level = super().at(time)
        return level._replace(dalpha=level.dalpha / self.steps, dsigma=level.dsigma / self.steps)


class ABetaOfZero(DiscreteSchedule):
    def __init__(self):
        super().__init__([0.1, 0.0, 0.5, 0.9, 0.9])


class ProductOneStepShort(RightTable):
    def __init__(self):
        super().__init__()
        self.alphas_cumprod = self.alphas_cumprod_prev


class OffByOneLevel(RightTable):
    """Integer t is taken for a row of a table that has clean data in front."""

    def level(self, t):
        return self.at(t.float() / self.steps)


class OffByOneTime(RightTable):
    """Level t at time t / T: the cleanest level passes for clean data."""

    def at(self, time):
        return super().at(time + 1 / self.steps)._replace(time=time)


class LevelsCountedInSteps(RightTable):
    """The integer of a level counts from one."""

    def level(self, t):
        level = super().level(t)
        return level._replace(step=level.step + 1)


class VarianceOfTheForwardStep(RightTable):
    @property
    def posterior_variance(self):
        return self.betas


class PosteriorWithoutPrev(RightTable):
    @property
    def posterior_variance(self):
        return self.betas * (1 - self.alphas_cumprod) / (1 - self.alphas_cumprod_prev * 0.999)


class RespacedWithOldBetas(RightTable):
    def respace(self, timesteps):
        kept = np.asarray(sorted(timesteps))
        return DiscreteSchedule(self.betas[kept], self.original[kept].tolist())


class RespacedForgetsTheOriginal(RightTable):
    def respace(self, timesteps):
        return DiscreteSchedule(super().respace(timesteps).betas)


RIGHT = [Right, RightTable]
_bug = partial(Tooth, "noise_schedule")
TEETH = [
    _bug(
        "times are divided by the largest in the batch",
        DependsOnTheBatch,
        "each_time_has_a_level_of_its_own",
    ),
    _bug("times are clamped in place", ClampsInPlace, "each_time_has_a_level_of_its_own"),
    _bug("float64 passes through float32", SinglePrecisionInside, "the_dtype_is_that_of_the_time"),
    _bug("a tensor is made on the default device", TableOnTheCpu, "the_device_is_that_of_the_time"),
    _bug("sigma is NaN at time 1", SigmaFromTheRatio, "levels_are_finite_and_in_range"),
    _bug("time 0 still has noise", StartsLate, "at_time_zero_the_data_are_clean"),
    _bug("time 1 still shows the data", EndsWithSignal, "at_time_one_there_is_noise"),
    _bug("time runs from noise to data", RunsBackwards, "signal_falls_and_noise_grows"),
    _bug(
        "log_snr is that of amplitudes, not of variances",
        LogOfAmplitudes,
        "log_snr_is_that_of_alpha_and_sigma",
    ),
    _bug("dalpha has the wrong sign", SlopeOfTheWrongSign, "slopes_are_those_of_alpha_and_sigma"),
    _bug(
        "slopes of a table are per step, not per time",
        SlopesPerStep,
        "slopes_are_those_of_alpha_and_sigma",
    ),
    _bug(
        "time_of takes log_snr for the log of alpha / sigma",
        TimeOfTheAmplitudeRatio,
        "time_of_inverts_log_snr",
    ),
    _bug("sampling times run upwards", TimesFromDataToNoise, "times_run_from_noise_to_data"),
    _bug("n steps get n times, not n + 1", OneTimeTooFew, "times_run_from_noise_to_data"),
    _bug("a schedule holds a parameter", HoldsAParameter, "it_is_a_constant"),
    _bug("a schedule holds a lambda, so it cannot be pickled", HoldsALambda, "it_is_a_constant"),
    _bug(
        "a level made in inference mode is kept for training",
        KeepsTheLastLevel,
        "inference_mode_leaves_no_trace",
    ),
    _bug("a beta is 0", ABetaOfZero, "betas_lie_between_zero_and_one"),
    _bug(
        "alphas_cumprod leaves out the last factor",
        ProductOneStepShort,
        "alphas_cumprod_is_the_product_of_one_minus_beta",
    ),
    _bug("level t is that of t - 1: off by one", OffByOneLevel, "level_t_is_at_time_t_plus_one"),
    _bug("time t / T has level t: off by one", OffByOneTime, "at_time_zero_the_data_are_clean"),
    _bug(
        "the integer of a level counts from 1",
        LevelsCountedInSteps,
        "level_t_is_at_time_t_plus_one",
    ),
    _bug(
        "the posterior variance is that of the forward step",
        VarianceOfTheForwardStep,
        "the_posterior_is_that_of_bayes",
    ),
    _bug(
        "the posterior variance takes alphas_cumprod[t] for [t - 1]",
        PosteriorWithoutPrev,
        "the_posterior_is_that_of_bayes",
    ),
    _bug(
        "respacing keeps the betas, not their products",
        RespacedWithOldBetas,
        "respacing_keeps_the_levels",
    ),
    _bug(
        "respacing forgets the original integers",
        RespacedForgetsTheOriginal,
        "respacing_keeps_the_levels",
    ),
]
