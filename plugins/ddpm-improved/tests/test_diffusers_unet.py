"""A network with the calls of diffusers as a denoiser."""

from types import SimpleNamespace

import pytest
import torch
from corekit_ddpm_improved.diffusers_unet import DiffusersUNet
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.schedules import Linear
from torch import nn

from corekit.data_spec import DataSpec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified
from corekit.errors import ShapeError, UsageError
from corekit.interfaces.records import Condition


class Theirs(nn.Module):
    """As a UNet2DModel is called; keeps what it was told."""

    def __init__(self, channels=2, out=2, classes=None):
        super().__init__()
        self.config = SimpleNamespace(
            in_channels=channels, out_channels=out, num_class_embeds=classes
        )
        self.conv = nn.Conv2d(channels, out, 3, padding=1)
        self.told = []

    def forward(self, sample, timestep, class_labels=None):
        self.told.append((timestep, class_labels))
        shift = 0.001 * timestep + (0 if class_labels is None else class_labels)
        return SimpleNamespace(sample=self.conv(sample) + shift[:, None, None, None])


def test_it_is_told_original_steps_and_says_what_the_network_says():
    theirs = Theirs()
    net, schedule = DiffusersUNet(theirs, (2, 4, 4)), Linear(steps=1000).respace([0, 10, 999])
    x, level = torch.randn(3, 2, 4, 4), schedule.level(torch.tensor([2, 0, 1]))
    steps = torch.tensor([999, 0, 10])
    torch.testing.assert_close(net(x, level), theirs(x, steps).sample)
    assert theirs.told[0][0].tolist() == [999, 0, 10]
    assert theirs.told[0][1] is None


def test_classes_and_learned_variances_are_handed_on():
    theirs = Theirs(out=4, classes=5)
    net = DiffusersUNet(theirs, (2, 4, 4), {"labels": ()}, variance="range", predicts="x_0")
    level = Linear(steps=30).level(torch.tensor([3]))
    condition = Condition(labels=torch.tensor([4]))
    assert net(torch.zeros(1, 2, 4, 4), level, condition).shape == (1, 4, 4, 4)
    assert theirs.told[0][1].tolist() == [4]


def test_it_serves_a_whole_model():
    model = DiffusionModel(
        DataSpec((2, 4, 4)),
        denoiser=lambda event_shape, condition_shapes, out_channels: DiffusersUNet(
            Theirs(), event_shape, condition_shapes
        ),
        schedule=Linear(steps=30),
        loss=Mse(),
    )
    assert model.sample(2, sampler=Ddim(steps=3)).shape == (2, 2, 4, 4)
    assert "density.denoiser.unet.conv.weight" in model.state_dict()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError, match=r"must have 3 channels and give 3, got 2 and 2"):
        DiffusersUNet(Theirs(), (3, 4, 4))
    with pytest.raises(ShapeError, match="give 4, got 2 and 2"):
        DiffusersUNet(Theirs(), (2, 4, 4), variance="log")
    with pytest.raises(ShapeError, match="classes must meet the condition 'labels'"):
        DiffusersUNet(Theirs(classes=3), (2, 4, 4))
    net = DiffusersUNet(Theirs(), (2, 4, 4), predicts="velocity")
    with pytest.raises(UsageError, match="must have integer steps"):
        net(torch.zeros(1, 2, 4, 4), Rectified().at(torch.tensor([0.5])))
