"""A denoiser of classes that is exact: Gaussians, whose guided score is a line."""

import torch

from corekit.diffusion.schedules import cosine_betas
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Condition

SCHEDULE = DiscreteSchedule(cosine_betas(50))
MEANS = torch.tensor([-1.0, 0.5, 2.0], dtype=torch.float64)
OWN, ALL = 0.3, 1.4  # variances of a class, and of all data, whose mean is 0


class Classes(Denoiser):
    """The exact denoiser of N(mean of the class, OWN), and of N(0, ALL) without a class."""

    event_shape, condition_shapes = (2,), {"labels": ()}

    def __init__(self, predicts="eps", variance="fixed"):
        super().__init__()
        self.predicts, self.variance, self.calls, self.prepares = predicts, variance, [], 0

    def prepared(self, condition):
        self.prepares += 1
        return self

    def _forward(self, x_t, level, condition, previous):
        self.calls.append(condition.labels.tolist())
        none = condition.labels < 0
        mean = torch.where(none, 0.0, MEANS[condition.labels.clamp(min=0)])[:, None]
        spread = torch.where(none, ALL, OWN)[:, None].double()
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        whole = alpha**2 * spread + sigma**2
        eps = sigma * (x_t - alpha * mean) / whole
        if self.predicts == "x_0":
            eps = mean + alpha * spread / whole * (x_t - alpha * mean)
        elif self.predicts == "v":
            eps = alpha * eps - sigma * (mean + alpha * spread / whole * (x_t - alpha * mean))
        if previous is not None:
            eps = eps + previous
        if self.variance == "fixed":
            return eps
        return torch.cat((eps, mean.expand(-1, 2)), 1)  # a variance that the class decides


def score_of(x, level, mean, spread):
    alpha, sigma = level.alpha[:, None], level.sigma[:, None]
    return -(x - alpha * mean) / (alpha**2 * spread + sigma**2)


def at(*steps):
    return SCHEDULE.at((torch.tensor(steps, dtype=torch.float64) + 1) / SCHEDULE.steps)


X = torch.tensor([[0.3, -2.0], [1.1, 0.4], [-0.7, 3.0]], dtype=torch.float64)
LABELS = Condition(labels=torch.tensor([2, 0, 1]))
