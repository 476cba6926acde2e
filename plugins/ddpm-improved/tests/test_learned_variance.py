"""A U-Net that learns its variances, from a spec: trained, sampled, bounded."""

import pytest
import torch
import yaml
from corekit_ddpm_improved.bound_losses import Hybrid, Kl, RescaledKl, RescaledMse
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.schedules import Cosine
from corekit_ddpm_improved.unet import UNet

from corekit.checkpoint import load_model
from corekit.cli.main import main
from corekit.data_spec import DataSpec
from corekit.diffusion.bound import variational_bound
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.predicting import predict_with
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.interfaces.records import Batch, Condition

NET = {"type": "ddpm.unet", "channels": 8, "multipliers": [1, 1], "blocks": 1, "attention": [2]}
TREE = {
    "version": 1,
    "model": {
        "type": "diffusion",
        "denoiser": {**NET, "heads": 2, "variance": "range", "classes": 6},
        "schedule": {"type": "ddpm.cosine", "steps": 20},
        "loss": {"type": "ddpm.hybrid"},
    },
    "data": {"type": "shapes2d", "side": 8, "size": 64, "held_out": 16, "labels": True},
    "train": {"steps": 3, "batch_size": 8, "device": "cpu", "sample_every": 3, "samples": 2},
}


@pytest.mark.parametrize("loss", ["hybrid", "rescaled_mse", "kl", "rescaled_kl"])
def test_a_spec_trains_samples_and_is_bounded(loss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = {**TREE, "model": {**TREE["model"], "loss": {"type": f"ddpm.{loss}"}}}
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", "net.yaml", "--quiet"]) == 0
    assert main(["sample", "runs/net", "--num", "2", "--labels", "1,5", "--steps", "4"]) == 0
    model, _, _ = load_model("runs/net")
    loss_part = model.density.denoising_loss
    assert loss_part.steps == 20
    assert loss_part.levels.number == 2
    x, condition = torch.ones(3, 1, 8, 8), Condition(labels=torch.tensor([0, 1, 5]))
    predict = predict_with(model.density.denoiser, condition)
    bound = variational_bound(predict, model.density.schedule, x, model.data)
    assert bound.total.isfinite().all()
    assert bound.steps.shape == (3, 20)


def model_of(loss, variance="range", data=None):
    def net(**given):
        return UNet(**given, channels=4, multipliers=(1,), blocks=1, heads=1, variance=variance)

    return DiffusionModel(data or DataSpec((1, 4, 4)), denoiser=net, schedule=Cosine(10), loss=loss)


@pytest.mark.parametrize("loss", [Hybrid(), RescaledMse(), Kl(), RescaledKl()])
def test_the_second_half_of_the_output_learns(loss):
    model = model_of(loss)
    torch.nn.init.normal_(model.density.denoiser.head.weight, std=0.1)
    model(Batch(torch.randn(8, 1, 4, 4))).total.sum().backward()
    said = model.density.denoiser.head.weight.grad[1]
    assert said.abs().max() > 0


def test_losses_of_a_bound_are_told_the_data_and_the_steps():
    model = model_of(Kl(rescale=True), data=DataSpec((1, 4, 4), levels=4, bin_width=0.5, lowest=-1))
    assert model.density.denoising_loss.steps == 10
    assert model.density.denoising_loss.levels == (4, 0.5, -1)


def test_a_variance_that_nothing_trains_is_refused():
    with pytest.raises(UsageError, match=r"must have a gradient, got Mse.*ddpm.hybrid"):
        model_of(Mse())
    model_of(Kl(variance="large"), "fixed")


def test_what_has_no_bound_is_refused():
    with pytest.raises(UsageError, match="Kl: the bound needs a schedule of steps, got Rectified"):
        Kl().prepare(Rectified())
    data = DataSpec((2,), levels=4, bin_width=0.5, lowest=-1.0, mean=(0.0,), std=(2.0,))
    with pytest.raises(UsageError, match="must not be standardised"):
        Hybrid().prepare(Cosine(10), data)
    with pytest.raises(UsageError, match="at least 0, got -1"):
        Hybrid(vlb_weight=-1)
