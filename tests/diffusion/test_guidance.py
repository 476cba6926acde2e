"""Guidance, on Gaussians whose guided score is known; and how models are trained for it."""

import math

import pytest
import torch
from class_oracle import ALL, LABELS, MEANS, OWN, SCHEDULE, Classes, X, at, score_of
from torch import nn

from corekit.data_spec import DataSpec
from corekit.diffusion.density import DiffusionDensity
from corekit.diffusion.guidance import Guidance, guided
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.predicting import self_conditioned
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import (
    cosine_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import UsageError
from corekit.interfaces.denoiser import Denoiser
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Batch, Condition


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.5, -1.0])
@pytest.mark.parametrize("predicts", ["eps", "x_0", "v"])
def test_the_guided_score_is_that_of_the_closed_form(scale, predicts):
    """(1 + w) score of the class - w score of all: a Gaussian again, whose score is a line."""
    net, level = Classes(predicts), at(3, 20, 40)
    found = guided(net, LABELS, scale)(X, level)
    own = score_of(X, level, MEANS[LABELS.labels][:, None], OWN)
    wanted = own + scale * (own - score_of(X, level, 0.0, ALL))
    torch.testing.assert_close(-found.eps / level.sigma[:, None], wanted)
    back = level.alpha[:, None] * found.x_0 + level.sigma[:, None] * found.eps
    torch.testing.assert_close(back, X)
    assert net.calls == [[2, 0, 1, -1, -1, -1]]
    assert net.prepares == 1


def test_samples_of_guidance_are_where_the_ode_of_the_closed_form_ends():
    """The ODE of a linear score is linear: its factor and shift are integrated apart."""
    schedule, scale = DiscreteSchedule(cosine_betas(1000)), 1.5
    x = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    predict = guided(Classes(), Condition(labels=torch.tensor([2])), scale)
    found = Ddim()(predict, schedule, x, times=schedule.times(1000))

    def slope(y, u):  # dy / du of y = x / alpha, u = sigma / alpha, is eps
        whole = 1 + u**2
        alpha = whole**-0.5

        def eps(mean, spread):
            return u * alpha * (alpha * y - alpha * mean) / (alpha**2 * spread + u**2 * alpha**2)

        return (1 + scale) * eps(MEANS[2], OWN) - scale * eps(0.0, ALL)

    start = schedule.at(torch.ones(1, dtype=torch.float64))
    u, y = (start.sigma / start.alpha).item(), x / start.alpha
    grid = torch.cat((torch.logspace(math.log10(u), -4, 4000, dtype=torch.float64), torch.zeros(1)))
    for a, b in zip(grid[:-1].tolist(), grid[1:].tolist(), strict=True):
        middle = y + (b - a) / 2 * slope(y, a)
        y = y + (b - a) * slope(middle, (a + b) / 2)
    torch.testing.assert_close(found, y, atol=0.02, rtol=0)
    plain = Ddim()(
        guided(Classes(), Condition(labels=torch.tensor([2])), 0.0),
        schedule,
        x,
        times=schedule.times(1000),
    )
    assert (found - plain).abs().max() > 0.2


def test_guidance_may_be_limited_to_an_interval_of_noise():
    level = at(3, 20, 40)
    ratio = (level.sigma / level.alpha).tolist()
    found = guided(Classes(), LABELS, 2.0, (ratio[1], ratio[1]))(X, level)
    whole, plain = (guided(Classes(), LABELS, w)(X, level) for w in (2.0, 0.0))
    assert torch.equal(found.eps[1], whole.eps[1])
    torch.testing.assert_close(found.eps[[0, 2]], plain.eps[[0, 2]])
    assert not torch.allclose(whole.eps, plain.eps)


def test_guidance_reaches_to_pure_noise():
    schedule = DiscreteSchedule(rescale_zero_terminal_snr(cosine_betas(20)))
    level = schedule.at(torch.ones(1, dtype=torch.float64))
    given = Condition(labels=torch.tensor([2]))
    found = guided(Classes("v"), given, 2.0, (1.0, math.inf))(X[:1], level)
    assert torch.allclose(found.x_0, 3 * MEANS[2] + torch.zeros_like(X[:1]))


@pytest.mark.parametrize("rescale", [0.0, 0.7, 1.0])
def test_rescaling_brings_the_spread_of_each_row_back(rescale):
    level = at(20, 20, 20)
    plain, strong = (guided(Classes(), LABELS, w)(X, level).eps for w in (0.0, 4.0))
    found = guided(Classes(), LABELS, 4.0, None, rescale)(X, level).eps
    ratio = plain.std(1, correction=0) / strong.std(1, correction=0)
    factor = rescale * ratio + 1 - rescale
    torch.testing.assert_close(found, factor[:, None] * strong)
    if rescale == 1:
        torch.testing.assert_close(found.std(1), plain.std(1))


def test_a_learned_variance_is_that_with_the_condition():
    level = at(3, 20, 40)
    found = guided(Classes(variance="log"), LABELS, 3.0)(X, level)
    wanted = MEANS[LABELS.labels][:, None].expand(-1, 2)
    torch.testing.assert_close(found.log_variance, wanted)
    torch.testing.assert_close(found.eps, guided(Classes(), LABELS, 3.0)(X, level).eps)


def test_an_earlier_estimate_is_given_to_both():
    level, net = at(3, 20, 40), Classes()
    predict = self_conditioned(guided(net, LABELS, 3.0))
    first, second = predict(X, level), predict(X, level)
    torch.testing.assert_close(second.eps, first.eps + first.x_0)


def test_every_condition_is_left_out():
    """Vector, image and points with their mask go, beside labels."""

    class Seen(Denoiser):
        event_shape, condition_shapes = (2,), {}

        def _forward(self, x_t, level, condition, previous):
            self.seen = condition
            return x_t

    full = Condition(
        vector=torch.ones(3, 2), labels=torch.ones(3).long(), image=torch.ones(3, 1, 2, 2)
    )
    net = Seen()
    guided(net, full, 1.0)(X, at(3, 20, 40))
    assert net.seen.vector.sum(1).tolist() == [2, 2, 2, 0, 0, 0]
    assert net.seen.labels.tolist() == [1, 1, 1, -1, -1, -1]
    assert net.seen.image.flatten(1).sum(1).tolist() == [4, 4, 4, 0, 0, 0]
    assert net.seen.points is None


def test_guidance_refuses_what_makes_no_sense():
    for condition in (None, Condition()):
        with pytest.raises(UsageError, match="must have a condition to leave out"):
            guided(Classes(), condition, 1.0)
    with pytest.raises(UsageError, match=r"rescale lie in \[0, 1\], got 1.0 and 2.0"):
        guided(Classes(), LABELS, 1.0, None, 2.0)


# -- in a density ----------------------------------------------------------------------------------


class SquaredError(DenoisingLoss):
    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def density(**options):
    net = Classes()
    net.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))
    made = DiffusionDensity(
        (2,),
        {"labels": ()},
        denoiser=lambda **_: net,
        schedule=SCHEDULE,
        loss=SquaredError(),
        sampler=Ddim(steps=4),
        **options,
    )
    return made, net


def test_training_leaves_out_a_share_of_the_conditions():
    made, net = density(drop_condition=0.25)
    coins = torch.tensor([0.1, 0.24, 0.25, 0.9], dtype=torch.float64)
    given = {"t": torch.tensor([3, 4, 5, 6]), "eps": torch.zeros(4, 2).double(), "drop": coins}
    x, labels = torch.zeros(4, 2).double(), Condition(labels=torch.tensor([0, 1, 2, 0]))
    made.loss(x, labels, draws=GivenDraws(given))
    assert net.calls == [[-1, -1, 2, 0]]
    assert labels.labels.tolist() == [0, 1, 2, 0]
    rest = {k: given[k] for k in ("t", "eps")}  # nothing more is drawn
    made.eval().loss(x, labels, draws=GivenDraws(rest))
    assert net.calls[1:] == [[0, 1, 2, 0]]
    density()[0].loss(x, labels, draws=GivenDraws(rest))


def test_samples_are_guided_as_the_model_says_or_as_is_asked():
    made, _ = density(guidance=Guidance(2.0))
    plain, net = density()
    noise = {"x_T": torch.tensor([[0.2, -0.4], [1.0, 0.0]]).double()}
    given = Condition(labels=torch.tensor([2, 0]))

    def sample(of, **options):
        return of.sample(2, given, generator=GivenDraws(noise), **options)

    assert torch.equal(sample(made), sample(plain, guidance=2.0))
    assert torch.equal(sample(made, guidance=0.0), sample(plain))
    assert not torch.allclose(sample(made), sample(plain))
    assert all(len(call) == 2 for call in net.calls[-4:])
    predict = guided(Classes(), given, 2.0)
    wanted = Ddim(steps=4)(predict, SCHEDULE, noise["x_T"], times=SCHEDULE.times(4))
    torch.testing.assert_close(sample(made), wanted)


def test_a_model_takes_the_options_of_its_spec():
    data = DataSpec((2,), condition_shapes={"labels": ()})
    model = DiffusionModel(
        data,
        denoiser=lambda **_: Classes(),
        schedule=SCHEDULE,
        loss=SquaredError(),
        drop_condition=0.5,
        guidance=1.5,
        guidance_interval=(0.1, 3.0),
        guidance_rescale=0.2,
    )
    assert model.density.guidance == Guidance(1.5, (0.1, 3.0), 0.2)
    assert model.density.drop_condition == 0.5
    model(Batch(torch.zeros(3, 2).double(), LABELS), draws=None)
