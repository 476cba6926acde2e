"""Metrics with one mistake each."""

from functools import partial

import torch

from corekit.interfaces.dataset import Figure, Metric
from teeth import Tooth


class Right(Metric):
    """Energy distance; every wrong one below changes a line of it."""

    better = "lower"

    def distance(self, x, y):
        x, y = x.flatten(1).double(), y.flatten(1).double()
        cross = torch.cdist(x, y).mean()
        return (2 * cross - torch.cdist(x, x).mean() - torch.cdist(y, y).mean()).item()

    def __call__(self, samples, reference, train):
        value = self.distance(samples, reference)
        protocol = {"samples": len(samples), "reference": len(reference)}
        return {"energy": Figure(value, None, {}, protocol, self.better)}


class WrongWay(Right):
    better = "higher"


class Blind(Right):
    def distance(self, x, y):
        return 1.0


class MeanOnly(Right):
    def distance(self, x, y):
        return super().distance(x - x.mean(0) + y.mean(0) * 0, y) - 100 * x.mean().item()


class Noisy(Right):
    def distance(self, x, y):
        return super().distance(x[torch.randperm(len(x))[:8]], y)


class FirstOnly(Right):
    def distance(self, x, y):
        return super().distance(x[:6], y)


class InPlace(Right):
    def distance(self, x, y):
        x -= 0.1
        return super().distance(x, y)


class Rounded(Right):
    def distance(self, x, y):
        return super().distance(x.round(decimals=1) if x.dtype is torch.float32 else x, y)


class TensorInProtocol(Right):
    def __call__(self, samples, reference, train):
        figure = super().__call__(samples, reference, train)["energy"]
        return {"energy": figure._replace(protocol={"samples": torch.tensor(len(samples))})}


class Infinite(Right):
    def distance(self, x, y):
        return super().distance(x, y) / 0.0 if len(x) < 0 else float("inf")


_bug = partial(Tooth, "metric")
RIGHT = [Right]
TEETH = [
    _bug("higher is called better where lower is", WrongWay, "it_tells_good_from_bad"),
    _bug("it is the same for any samples", Blind, "it_tells_good_from_bad"),
    _bug("a collapsed set scores best", MeanOnly, "it_tells_good_from_bad"),
    _bug("a random subset of its own", Noisy, "it_repeats_itself"),
    _bug("only the first samples count", FirstOnly, "the_order_of_the_samples_does_not_matter"),
    _bug("the samples are changed in place", InPlace, "the_sets_are_untouched"),
    _bug("float32 samples are rounded", Rounded, "float64_gives_the_same"),
    _bug("the protocol holds a tensor", TensorInProtocol, "figures_can_be_read"),
    _bug("the figure is infinite", Infinite, "figures_can_be_read"),
]
