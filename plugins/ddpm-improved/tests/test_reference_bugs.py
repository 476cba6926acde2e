"""What improved-diffusion gets wrong, and this package does not.

Dropout and frozen weights inside recomputed activations are in test_unet and test_nets, sizes that
do not divide in test_unet, the mean over parts of a batch, resuming and the end of a run in the
tests of the trainer, importance-sampled steps in test_timesteps and tests/train/test_timesteps.
"""

import pytest
import torch
from corekit_ddpm_improved.timesteps import LossSecondMoment
from corekit_ddpm_improved.unet import UNet

from corekit.build import build
from corekit.diffusion.schedules import cosine_betas
from corekit.interfaces.draws import Draws
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import Condition
from corekit.spec import run_spec

SCHEDULE = DiscreteSchedule(cosine_betas(10))


@pytest.mark.parametrize("resample", ["convolution", "average", "blocks"])
def test_every_way_to_resample_works_with_any_first_width_in_float64(resample):
    net = UNet(
        (3, 6, 8), channels=4, multipliers=(2, 1), blocks=1, heads=1, resample=resample
    ).double()
    x = torch.randn(2, 3, 6, 8, dtype=torch.float64)
    level = SCHEDULE.at(torch.tensor([0.5, 1.0], dtype=torch.float64))
    assert net(x, level).dtype is torch.float64


def test_a_network_for_super_resolution_tells_its_features():
    net = UNet((3, 6, 8), {"image": (3, 3, 4)}, channels=4, multipliers=(1, 2), blocks=1, heads=1)
    condition = Condition(image=torch.randn(2, 3, 3, 4))
    found = net.features(torch.randn(2, 3, 6, 8), SCHEDULE.level(torch.tensor([1, 9])), condition)
    assert [tuple(h.shape[1:]) for h in found["down"]] == [(4, 6, 8)] * 2 + [(4, 3, 4), (8, 3, 4)]
    assert len(found["up"]) == 4


def test_any_number_of_classes_is_taken():
    spec = run_spec(
        {
            "version": 1,
            "model": {
                "type": "diffusion",
                "denoiser": {"type": "ddpm.unet", "channels": 4, "multipliers": [1], "classes": 3},
                "schedule": {"type": "ddpm.cosine", "steps": 4},
                "loss": "ddpm.mse",
            },
            "data": {"type": "shapes2d", "side": 8, "size": 4, "held_out": 2, "labels": True},
        }
    )
    model = build(spec)
    assert model.sample(2, Condition(labels=torch.tensor([2, -1]))).shape == (2, 1, 8, 8)


def test_a_process_that_has_seen_fewer_losses_than_another_is_no_trouble():
    """Losses arrive as one row of the whole batch, however the processes divided it."""
    together, apart = LossSecondMoment(10, history=2), LossSecondMoment(10, history=2)
    t, losses = torch.tensor([1, 1, 3, 9, 1]), torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    together.observe(t, losses)
    apart.observe(t[:3], losses[:3])
    apart.observe(t[3:], losses[3:])
    torch.testing.assert_close(together.losses, apart.losses)
    level, weight = together.sample(4, SCHEDULE, Draws(), torch.device("cpu"))
    assert level.step.shape == weight.shape == (4,)


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_few_steps_of_the_cosine_schedule_make_samples(steps):
    schedule = DiscreteSchedule(cosine_betas(steps))
    assert torch.isfinite(schedule.level(torch.tensor([steps - 1])).alpha).all()
    respaced = DiscreteSchedule(cosine_betas(100)).respace([99])
    assert respaced.steps == 1
    assert respaced.posterior_variance.tolist() == [0.0]
