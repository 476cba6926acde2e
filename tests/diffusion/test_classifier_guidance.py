"""Guidance by the gradient of a classifier: what samplers of each kind make of it."""

import pytest
import torch
from class_oracle import ALL, LABELS, MEANS, OWN, SCHEDULE, Classes, X, at

from corekit.data_spec import pixel_spec
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.guidance import classifier_guided
from corekit.diffusion.predicting import predict_with, thresholded
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Condition, NoiseLevel, Shift


class Loss(DenoisingLoss):
    unit = "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def plain_eps(x, level):
    return predict_with(Classes(), Condition(labels=torch.zeros(len(x)).long()))(x, level)


def quadratic(x, level):
    return -0.5 * (x - 1).square().sum(1) * (1 + level.time.to(x.dtype))


@pytest.mark.parametrize("at_point", ["x_t", "mean"])
def test_the_gradient_moves_the_score_and_is_kept_for_samplers_that_move_the_mean(at_point):
    level = at(3, 20, 40)
    with torch.no_grad():
        found = classifier_guided(plain_eps, quadratic, 2.0, at=at_point)(X, level)
    plain = plain_eps(X, level)
    point = X
    if at_point == "mean":
        back = level.reverse
        point = back.from_x_t[:, None] * X + back.from_x_0[:, None] * plain.x_0
    gradient = -2 * (point - 1) * (1 + level.time)[:, None]
    torch.testing.assert_close(found.eps, plain.eps - level.sigma[:, None] * gradient)
    back = level.alpha[:, None] * found.x_0 + level.sigma[:, None] * found.eps
    torch.testing.assert_close(back, X)
    assert isinstance(found.shift, Shift)
    torch.testing.assert_close(found.shift.gradient, gradient)
    assert torch.equal(found.shift.x_0, plain.x_0)
    assert not found.eps.requires_grad


@pytest.mark.parametrize("flexibility", [0.0, 1.0])
def test_ancestral_shifts_its_mean_by_its_own_variance(flexibility):
    seen, moved = [], []
    noise = torch.zeros(3, 2).double()
    for predict, xs in ((plain_eps, seen), (classifier_guided(plain_eps, quadratic), moved)):
        Ancestral(flexibility)(
            predict,
            SCHEDULE,
            X,
            times=torch.tensor([21, 20, 0]) / 50,
            generator=GivenDraws({"noise": [noise]}),
            callback=lambda i, x, prediction, xs=xs: xs.append(x),
        )
    level = at(20, 20, 20)
    variance = (level.reverse.log_large if flexibility else level.reverse.log_small).exp()
    gradient = -(X - 1) * (1 + level.time)[:, None]
    torch.testing.assert_close(moved[0] - seen[0], variance[:, None] * gradient)


def test_guiding_towards_a_class_leads_to_it():
    """All data, guided by the exact log p(class | x_t), are the data of that class."""

    def log_prob(x, level):
        alpha, sigma = level.alpha[:, None], level.sigma[:, None]
        own = -0.5 * (x - alpha * MEANS[2]) ** 2 / (alpha**2 * OWN + sigma**2)
        return (own + 0.5 * x**2 / (alpha**2 * ALL + sigma**2)).sum(1)

    schedule, none = DiscreteSchedule(cosine_betas(200)), Condition(labels=-torch.ones(3).long())
    x = torch.tensor([[-1.5, 0.0], [0.5, 1.0], [2.0, -0.3]], dtype=torch.float64)
    found = Ddim()(
        classifier_guided(predict_with(Classes(), none), log_prob),
        schedule,
        x,
        times=schedule.times(200),
    )
    wanted = Ddim()(
        predict_with(Classes(), Condition(labels=torch.full((3,), 2))),
        schedule,
        x,
        times=schedule.times(200),
    )
    # alpha starts at 5e-5, and x_0 of it has so many digits less
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)


def test_clipping_stands_inside_of_a_gradient():
    """Outside, it would undo the gradient, and ancestral sampling could not shift its mean."""
    data = pixel_spec((2,), (-1.0, 1.0), condition_shapes={"labels": ()})
    net = Classes()
    net.scale = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    parts = {"denoiser": lambda **_: net, "schedule": SCHEDULE, "loss": Loss()}
    made = DiffusionDensity(
        (2,), {"labels": ()}, **parts, sampler=Ddim(steps=4), clip="static", data=data
    )
    given, start = Condition(labels=torch.tensor([2, 0, 1])), {"x_T": X}
    found = made.sample(
        3,
        given,
        generator=GivenDraws(start),
        around=lambda predict: classifier_guided(predict, quadratic, 5.0),
    )
    predict = classifier_guided(thresholded(predict_with(net, given), -1, 1), quadratic, 5.0)
    wanted = Ddim(steps=4)(predict, SCHEDULE, X, times=SCHEDULE.times(4))
    torch.testing.assert_close(found, wanted)
    assert found.abs().max() > 1


def test_pure_noise_has_no_property():
    schedule = DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(100)))
    level = schedule.at(torch.ones(3, dtype=torch.float64))
    predict = predict_with(Classes("v"), LABELS)
    found = classifier_guided(predict, quadratic)(X, level)
    torch.testing.assert_close(found.x_0, predict(X, level).x_0)
    assert found.eps.isfinite().all()


def test_the_mean_needs_a_step_back():
    level = Rectified().at(torch.full((3,), 0.5, dtype=torch.float64))
    assert isinstance(level, NoiseLevel)
    with pytest.raises(UsageError, match="mean of a step back must be known"):
        classifier_guided(plain_eps, quadratic, at="mean")(X, level)
    with pytest.raises(UsageError, match="at must be x_t or mean, got 'here'"):
        classifier_guided(plain_eps, quadratic, at="here")
