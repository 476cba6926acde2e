"""Losses with weights: what they amount to for each target, and at the end of the noise."""

import pytest
import torch
from corekit_ddpm_improved.later_specs import MinSnrSpec
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.mlp import MlpDenoiser
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.weighted_losses import MinSnr, Velocity, v_error
from pydantic import ValidationError

from corekit.data_spec import DataSpec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.process import q_sample, to_prediction
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import Batch


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scene(schedule, times=(0.02, 0.2, 0.5, 0.8), predicts="v"):
    level = schedule.at(torch.tensor(times, dtype=torch.float64))
    n = len(times)
    x_0, eps = normal(n, 4, 2), normal(n, 4, 2, seed=1)
    x_t = q_sample(x_0, eps, level)
    return to_prediction(normal(n, 4, 2, seed=2), predicts, x_t, level), x_0, x_t, eps, level


def test_the_velocity_is_its_squared_error():
    given = scene(Rectified(), predicts="velocity")
    output, eps, x_0 = normal(4, 4, 2, seed=2), given[3], given[1]
    wanted = (output - (eps - x_0)).square().flatten(1).mean(1)
    torch.testing.assert_close(Velocity()(*given), wanted)
    assert Velocity.name == "velocity"


@pytest.mark.parametrize("gamma", [5.0, 0.5])
def test_min_snr_weighs_each_target_as_its_paper_does(gamma):
    schedule = Cosine(50)
    given = scene(schedule)
    snr = (given[-1].alpha / given[-1].sigma) ** 2
    least = snr.clamp(max=gamma)
    assert snr.min() < gamma < snr.max()
    loss = MinSnr(gamma)
    loss.prepare(schedule)
    found = loss(*given)
    torch.testing.assert_close(found, least / snr * Mse("eps")(*given))
    torch.testing.assert_close(found, least * Mse("x_0")(*given))
    torch.testing.assert_close(found, least / (snr + 1) * Mse("v")(*given))


def test_min_snr_weighs_a_velocity_as_an_error_in_x_0():
    given = scene(Rectified())
    level = given[-1]
    snr = (level.alpha / level.sigma) ** 2
    wanted = snr.clamp(max=5) * level.sigma**2 * Mse("velocity")(*given)
    torch.testing.assert_close(MinSnr(floor=0.0)(*given), wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("schedule", [Linear(50, zero_terminal_snr=True), Rectified()])
def test_min_snr_is_finite_and_not_zero_where_there_is_no_signal(schedule, dtype):
    loss = MinSnr()
    loss.prepare(schedule)
    level = schedule.at(torch.tensor([1.0], dtype=dtype))
    assert level.alpha.item() == 0
    x_0, eps = normal(1, 4, dtype=dtype), normal(1, 4, seed=1, dtype=dtype)
    output = normal(1, 4, seed=2, dtype=dtype).requires_grad_()
    prediction = to_prediction(output, "v", eps, level)
    found = loss(prediction, x_0, eps, eps, level)
    torch.testing.assert_close(found, (output + x_0).square().mean(1))  # v = -x_0, with weight 1
    found.sum().backward()
    torch.testing.assert_close(output.grad, (output.detach() + x_0) / 2)


def test_the_floor_of_min_snr_is_for_such_schedules_and_can_be_chosen():
    loss = MinSnr()
    loss.prepare(Linear(50))
    assert loss.least == 0
    loss.prepare(Linear(50, zero_terminal_snr=True))
    assert loss.least == 1
    chosen, small = MinSnr(floor=0.2), MinSnr(0.5)
    for part, least in ((chosen, 0.2), (small, 0.5)):
        part.prepare(Rectified())
        assert part.least == least
    given = scene(Rectified())
    snr = (given[-1].alpha / given[-1].sigma) ** 2
    torch.testing.assert_close(chosen(*given), snr.clamp(0.2, 5) * Mse("x_0")(*given))


def test_a_model_without_signal_at_the_end_trains_there():
    def net(**given):
        return MlpDenoiser(**given, hidden=8, depth=1, predicts="v")

    schedule = Cosine(20, zero_terminal_snr=True)
    model = DiffusionModel(DataSpec((2,)), denoiser=net, schedule=schedule, loss=MinSnr())
    draws = GivenDraws({"t": torch.full((4,), 19), "eps": normal(4, 2, dtype=torch.float32)})
    model(Batch(torch.ones(4, 2)), draws=draws).total.sum().backward()
    assert model.density.denoiser.head.bias.grad.abs().min() > 0.1


@pytest.mark.parametrize("predicts", ["eps", "x_0", "v"])
def test_the_error_of_v_keeps_its_digits_in_single_precision(predicts):
    """Near both ends, where x_0 follows from eps or eps from x_0."""
    schedule = Rectified()
    losses = []
    for dtype in (torch.float32, torch.float64):
        level = schedule.at(torch.tensor([2.0**-16, 0.5, 1 - 2.0**-16], dtype=dtype))
        x_0, eps, output = (normal(3, 64, seed=i).to(dtype) for i in range(3))
        x_t = q_sample(x_0, eps, level)
        prediction = to_prediction(output, predicts, x_t, level)
        losses.append(v_error(prediction, x_0, eps, level).double())
    torch.testing.assert_close(losses[0], losses[1], rtol=2e-4, atol=0)


def test_what_min_snr_cannot_do_is_refused():
    for options in ({"gamma": 0.0}, {"gamma": 2.0, "floor": 3.0}):
        with pytest.raises(UsageError, match=r"floor lie in \[0, gamma\], got"):
            MinSnr(**options)
        with pytest.raises(ValidationError, match=r"greater than 0|at most gamma = 2.0, got 3.0"):
            MinSnrSpec(**options)
