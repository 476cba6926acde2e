"""A denoiser that sees its earlier estimate: in training half of the time, in sampling always."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.predicting import predict_with, self_conditioned
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.records import Prediction


class Net(Denoiser):
    """Says x_0 = w x_t + previous, and remembers what it saw."""

    predicts = "x_0"
    condition_shapes: ClassVar = {}

    def __init__(self, event_shape, condition_shapes, out_channels, self_condition=True):
        super().__init__()
        self.event_shape, self.self_condition = event_shape, self_condition
        self.weight, self.seen, self.grads = nn.Parameter(torch.tensor(0.5)), [], []

    def _forward(self, x_t, level, condition, previous):
        self.seen.append(previous)
        self.grads.append(torch.is_grad_enabled())
        return self.weight * x_t + (0 if previous is None else previous)


class Error(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.x_0 - x_0).square().flatten(1).mean(1)


def density(**options):
    def net(**given):
        return Net(**given, **options)

    return DiffusionDensity((2,), denoiser=net, schedule=Rectified(), loss=Error())


def given(coins):
    n = len(coins)
    t = torch.linspace(0.2, 0.8, n)
    eps = torch.arange(2.0 * n).reshape(n, 2)
    return GivenDraws({"t": t, "eps": eps, "self_condition": torch.tensor(coins)})


def test_training_feeds_an_estimate_without_gradient_to_the_rows_that_draw_it():
    part, x = density(), torch.ones(4, 2)
    coins = [0.1, 0.9, 0.49, 0.5]
    loss = part.loss(x, draws=given(coins)).total
    level = Rectified().at(1 - torch.linspace(0.2, 0.8, 4))
    x_t = level.alpha[:, None] * x + level.sigma[:, None] * torch.arange(8.0).reshape(4, 2)
    first, second = part.denoiser.seen
    assert first is None
    fed = torch.tensor([1.0, 0, 1, 0])[:, None]
    torch.testing.assert_close(second, 0.5 * fed * x_t)
    assert part.denoiser.grads == [False, True]
    torch.testing.assert_close(loss, (0.5 * (1 + fed) * x_t - x).square().mean(1))
    loss.sum().backward()
    slope = (2 * (0.5 * (1 + fed) * x_t - x) * x_t).mean(1).sum()  # previous is a constant
    torch.testing.assert_close(part.denoiser.weight.grad, slope)


def test_one_that_does_not_ask_draws_nothing_and_runs_once():
    part = density(self_condition=False)
    draws = given([0.1, 0.2])
    part.loss(torch.ones(2, 2), draws=draws)
    assert part.denoiser.seen == [None]
    assert len(draws.given["self_condition"]) == 1


def test_a_sampler_feeds_the_estimate_of_the_step_before():
    part, estimates = density(), []
    part.sample(3, sampler=Ddim(steps=4), callback=lambda i, x, found: estimates.append(found.x_0))
    seen = part.denoiser.seen
    assert len(seen) == 4
    assert seen[0] is None
    assert all(torch.equal(a, b) for a, b in zip(seen[1:], estimates, strict=False))
    part.sample(2, sampler=Ddim(steps=2))  # another run starts anew
    assert part.denoiser.seen[4] is None


def test_self_conditioned_is_a_predict_of_its_own_run():
    calls = []

    def predict(x_t, level, *, previous=None):
        calls.append(previous)
        return Prediction(x_t + 1, x_t)

    level = Rectified().at(torch.tensor([0.5]))
    one, other = self_conditioned(predict), self_conditioned(predict)
    one(torch.zeros(1, 2), level)
    other(torch.zeros(1, 2), level)
    one(torch.zeros(1, 2), level)
    assert calls[:2] == [None, None]
    assert torch.equal(calls[2], torch.ones(1, 2))


@pytest.mark.parametrize("previous", [None, torch.ones(3, 2)])
def test_predict_takes_an_earlier_estimate(previous):
    net = Net((2,), {}, None)
    x_t = torch.full((3, 2), 2.0)
    found = predict_with(net)(x_t, Rectified().at(torch.full((3,), 0.5)), previous=previous)
    assert found.x_0.unique().item() == (1 if previous is None else 2)
