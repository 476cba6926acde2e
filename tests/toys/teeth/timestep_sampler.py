"""Timestep samplers with one mistake each; `Right`, `Stratified` and `Learning` have none."""

from functools import partial

import torch
from torch import nn

from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.timestep_sampler import TimestepSampler
from teeth import Tooth


class Right(TimestepSampler):
    """Late levels up to three times as often as early ones, with the weights that make up for it.

    On a table p(t) grows with t, on a continuous schedule p(time) = 1/2 + time. Every wrong one
    below changes a line of it.
    """

    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        u = draws.uniform("t", (n,), torch.empty(0, device=device))
        if isinstance(schedule, DiscreteSchedule):
            p = self.probabilities(schedule.steps, device)
            t = self.index(u, p)
            return schedule.level(t), self.weight(p, t)
        time = self.quantile(self.tail(u))
        return schedule.at(time), 1 / (0.5 + time)

    def probabilities(self, steps, device):
        weights = 1 + 2 * torch.arange(steps, dtype=torch.float64, device=device) / steps
        return weights / weights.sum()

    def index(self, u, p):
        return torch.searchsorted(p.cumsum(0), u.double(), right=True).clamp(max=len(p) - 1)

    def weight(self, p, t):
        return 1 / (len(p) * p[t]).float()

    def tail(self, u):
        return 1 - u

    def quantile(self, u):
        return ((0.25 + 2 * u).sqrt() - 0.5).clamp(max=1.0)


class Stratified(TimestepSampler):
    """Row i of all ranks' rows has its own stretch of the time."""

    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        u = draws.uniform("t", (n,), torch.empty(0, device=device))
        rows = torch.arange(n, device=device)
        time = 1 - (u.double() + self.stretch(rows, n, rank, world)) / (n * world)
        if isinstance(schedule, DiscreteSchedule):
            return schedule.level((time * schedule.steps).ceil().long() - 1), None
        return schedule.at(time.float().clamp(min=1e-6)), None

    def stretch(self, rows, n, rank, world):
        return rows + n * rank


class Learning(Right):
    """Levels of a table of 40 in proportion to an average of their losses."""

    def __init__(self):
        super().__init__()
        self.register_buffer("losses", torch.ones(40))

    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        if not isinstance(schedule, DiscreteSchedule):
            raise UsageError("Learning: the schedule must be a table, got a continuous one.")
        return super().sample(n, schedule, draws, device, rank=rank, world=world)

    def probabilities(self, steps, device):
        losses = self.losses.double()
        return losses / losses.sum()

    def observe(self, t, losses):
        self.losses[t] = 0.5 * self.losses[t] + 0.5 * losses.to(self.losses)


class NoWeights(Right):
    def sample(self, *args, **options):
        return super().sample(*args, **options)[0], None


class WeightIsTheProbability(Right):
    def weight(self, p, t):
        return (len(p) * p[t]).float()


class WeightsOfTheBatch(Right):
    """One weight for all rows."""

    def weight(self, p, t):
        return super().weight(p, t).mean()


class NegativeWeights(Right):
    def weight(self, p, t):
        return super().weight(p, t) - 1


class NeverTheLast(TimestepSampler):
    """The range of the integers is one short."""

    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        if not isinstance(schedule, DiscreteSchedule):
            raise UsageError("NeverTheLast: the schedule must be a table, got a continuous one.")
        t = draws.integers("t", schedule.steps - 1, (n,), device)
        return schedule.level(t), None


class CleanDataAreDrawn(Right):
    def tail(self, u):
        return u


class OneTooFar(Right):
    """u = 1 - 2^-24 falls behind the last level, as a sum in float32 stays below 1."""

    def index(self, u, p):
        return torch.searchsorted(p.cumsum(0).float() * (1 - 2e-7), u)


class TimeOfAnotherLevel(Right):
    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        level, weight = super().sample(n, schedule, draws, device)
        return level._replace(time=(level.time - 1e-3).clamp(min=1e-4)), weight


class DrawsFromTheGlobalGenerator(Right):
    def sample(self, n, schedule, draws, device, *, rank=0, world=1):
        torch.rand(())
        return super().sample(n, schedule, draws, device)


class FreshTensor(Stratified):
    """Rows are counted on the default device."""

    def stretch(self, rows, n, rank, world):
        return torch.arange(n) + n * rank


class EveryRankTheSameHalf(Stratified):
    """Three ranks share two halves."""

    def stretch(self, rows, n, rank, world):
        return rows * world / min(world, 2) + n * world / 2 * (rank % 2) if world > 1 else rows


class LearnsWithoutWeights(Learning):
    def weight(self, p, t):
        return torch.ones_like(t, dtype=torch.float32)


class WeightsOfYesterday(Learning):
    """Weights are made from the losses as they were at the start."""

    def weight(self, p, t):
        return super().weight(torch.full_like(p, 1 / len(p)), t)


class ForgetsWhatItLearnt(Learning):
    def __init__(self):
        super().__init__()
        del self.losses
        self.register_buffer("losses", torch.ones(40), persistent=False)


class LearnsNothing(Learning):
    def observe(self, t, losses):
        pass


class LooseTensor(Learning):
    def __init__(self):
        super().__init__()
        del self.losses
        self.losses = torch.ones(40)


class HoldsALambda(Right):
    def __init__(self):
        super().__init__()
        self.warp = lambda time: time


class RandomWeightsAreLost(Right):
    """Probabilities that every constructor draws anew and no state dict holds."""

    def __init__(self):
        super().__init__()
        self.scale = float(torch.rand(()))
        self.unused = nn.Parameter(torch.zeros(()))

    def quantile(self, u):
        return super().quantile(u) ** (1 + self.scale)


RIGHT = [Right, Stratified, Learning]
_bug = partial(Tooth, "timestep_sampler")
_UNBIASED = "weighted_means_are_those_of_uniform_levels"
TEETH = [
    _bug("levels are drawn unevenly, and not weighted", NoWeights, _UNBIASED),
    _bug("the weight is the probability, not one over it", WeightIsTheProbability, _UNBIASED),
    _bug("one weight for the whole batch", WeightsOfTheBatch, "each_row_has_a_level_and_a_weight"),
    _bug("some weights are negative", NegativeWeights, "each_row_has_a_level_and_a_weight"),
    _bug("the noisiest level is never drawn", NeverTheLast, "every_level_can_be_drawn"),
    _bug("the noisiest level is never drawn: a bias", NeverTheLast, _UNBIASED),
    _bug(
        "time 0, without noise, can be drawn",
        CleanDataAreDrawn,
        "times_stay_in_range_at_the_edge_of_the_draws",
    ),
    _bug(
        "the largest random number falls behind the last level",
        OneTooFar,
        "times_stay_in_range_at_the_edge_of_the_draws",
    ),
    _bug(
        "the time of a level is not its own",
        TimeOfAnotherLevel,
        "levels_are_those_of_the_schedule",
    ),
    _bug(
        "numbers are drawn from torch's global generator",
        DrawsFromTheGlobalGenerator,
        "the_draws_alone_decide",
    ),
    _bug(
        "a tensor is made on the default device",
        FreshTensor,
        "levels_are_on_the_device_that_is_asked_for",
    ),
    _bug("ranks share the time unevenly", EveryRankTheSameHalf, "all_ranks_together_are_unbiased"),
    _bug(
        "what it learns changes the levels, not the weights",
        LearnsWithoutWeights,
        "what_it_observes_leaves_it_unbiased",
    ),
    _bug(
        "weights belong to the losses of the start",
        WeightsOfYesterday,
        "what_it_observes_leaves_it_unbiased",
    ),
    _bug(
        "what it learns is not in the state dict",
        ForgetsWhatItLearnt,
        "what_it_observes_is_in_its_state_dict",
    ),
    _bug("losses are observed and ignored", LearnsNothing, "what_it_observes_is_in_its_state_dict"),
    _bug(
        "what it learns is a plain attribute",
        LooseTensor,
        "every_tensor_is_a_parameter_or_a_buffer",
    ),
    _bug(
        "a lambda is kept, so it cannot be pickled", HoldsALambda, "copies_are_equal_and_separate"
    ),
    _bug("a random number is not saved", RandomWeightsAreLost, "a_state_dict_restores_it"),
]
