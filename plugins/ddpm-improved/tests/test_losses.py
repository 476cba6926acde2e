"""Mse: its number, its unit, and the weights that its targets amount to."""

import pytest
import torch
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.schedules import Cosine

from corekit.diffusion.process import q_sample, target_of, to_prediction
from corekit.diffusion.schedules import Rectified
from corekit.interfaces.records import Prediction


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scene(schedule):
    level = schedule.at(torch.tensor([0.2, 0.5, 0.8], dtype=torch.float64))
    x_0, eps = normal(3, 4, 2), normal(3, 4, 2, seed=1)
    return level, x_0, eps, q_sample(x_0, eps, level)


def test_it_is_a_mean_over_the_event_and_nothing_over_the_batch():
    level, x_0, eps, x_t = scene(Cosine(50))
    guess = normal(3, 4, 2, seed=2)
    loss = Mse()(to_prediction(guess, "eps", x_t, level), x_0, x_t, eps, level)
    wanted = torch.stack([((guess[i] - eps[i]) ** 2).sum() / 8 for i in range(3)])
    torch.testing.assert_close(loss, wanted)
    assert (Mse.name, Mse.unit) == ("mse", "squared error per coordinate")


@pytest.mark.parametrize("target", ["eps", "x_0", "v", "velocity"])
@pytest.mark.parametrize("schedule", [Cosine(50), Rectified()])
def test_it_is_the_error_of_the_target_and_zero_when_right(target, schedule):
    level, x_0, eps, x_t = scene(schedule)
    right = Mse(target)(Prediction(x_0, eps), x_0, x_t, eps, level)
    assert torch.equal(right, torch.zeros(3, dtype=torch.float64))
    guess = normal(3, 4, 2, seed=2)
    loss = Mse(target)(to_prediction(guess, target, x_t, level), x_0, x_t, eps, level)
    wanted = (guess - target_of(target, x_0, eps, level)).square().flatten(1).mean(1)
    torch.testing.assert_close(loss, wanted)


def test_targets_differ_by_weights_of_the_noise_level():
    level, x_0, eps, x_t = scene(Cosine(50))
    prediction = to_prediction(normal(3, 4, 2, seed=2), "v", x_t, level)
    in_eps, in_x_0, in_v = (
        Mse(target)(prediction, x_0, x_t, eps, level) for target in ("eps", "x_0", "v")
    )
    snr = (level.alpha / level.sigma) ** 2
    torch.testing.assert_close(in_x_0, in_eps / snr)
    torch.testing.assert_close(in_v, in_x_0 * (snr + 1))


def test_the_gradient_of_eps_is_that_of_the_output_alone():
    level, x_0, eps, x_t = scene(Cosine(50))
    output = normal(3, 4, 2, seed=2).requires_grad_()
    Mse()(to_prediction(output, "eps", x_t, level), x_0, x_t, eps, level).sum().backward()
    torch.testing.assert_close(output.grad, 2 * (output.detach() - eps) / 8)
