"""What came after improved diffusion, trained and sampled for real: points of two moons."""

import pytest
import torch
import yaml
from corekit_ddpm_improved.edm import Edm, EdmLoss, EdmSigmas
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.mlp import MlpDenoiser
from corekit_ddpm_improved.schedules import Cosine, Linear
from corekit_ddpm_improved.timesteps import LogNormal
from corekit_ddpm_improved.vdm import Vdm, VdmSchedule
from corekit_ddpm_improved.weighted_losses import MinSnr, Velocity

from corekit.cli.main import main
from corekit.data.toy2d import Toy2d
from corekit.data_spec import DataSpec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified
from corekit.interfaces.records import Batch


def moons(rows):
    return Toy2d(density="moons", size=rows, held_out=1).split("train").points()


def model(schedule, loss, around=None, timesteps=None, **net):
    def build(**given):
        return MlpDenoiser(**given, hidden=32, depth=2, **net)

    def wrapped(**given):
        return Edm(**given, net=build)

    return DiffusionModel(
        DataSpec((2,)),
        denoiser=wrapped if around else build,
        schedule=schedule,
        loss=loss,
        timesteps=timesteps,
        sampler=Ddim(steps=20),
    )


CASES = {
    "rectified": (lambda: model(Rectified(), Velocity(), predicts="velocity"), 0.75),
    "ddpm": (lambda: model(Linear(100), Mse()), 0.75),
    "edm": (lambda: model(EdmSigmas(), EdmLoss(), True, LogNormal()), 0.85),
    "vdm": (lambda: model(VdmSchedule(-6.0, 5.0), Vdm()), 0.75),
    "zero_snr": (
        lambda: model(
            Cosine(100, zero_terminal_snr=True), MinSnr(), predicts="v", self_condition=True
        ),
        0.9,
    ),
}


FAST = ("rectified", "ddpm")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in FAST else pytest.mark.slow) for n in CASES]
)
def test_the_loss_falls_and_samples_are_like_the_data(name):
    make, share = CASES[name]
    torch.manual_seed(0)
    part, x = make(), moons(1000)
    optimizer = torch.optim.Adam(part.parameters(), 5e-3)
    losses = []
    for _ in range(300):
        batch = Batch(x[torch.randint(len(x), (256,))])
        loss = part(batch).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    first, last = (sum(part) / len(part) for part in (losses[:5], losses[-50:]))
    assert last < (share * first if name != "vdm" else first - 2)
    with torch.no_grad():
        samples = part.sample(1000, generator=torch.Generator().manual_seed(0))
    nearest = torch.cdist(samples, x).min(1).values
    assert nearest.median() < 0.15  # of a normal distribution with their moments: 0.25
    assert torch.cdist(x, samples).min(1).values.median() < 0.15


SPECS = {
    "rectified": {
        "denoiser": {"type": "ddpm.mlp", "hidden": 8, "depth": 1, "predicts": "velocity"},
        "schedule": {"type": "ddpm.rectified", "shift": 2.0},
        "loss": "ddpm.velocity",
    },
    "edm": {
        "denoiser": {"type": "ddpm.edm", "net": {"type": "ddpm.mlp", "hidden": 8, "depth": 1}},
        "schedule": "ddpm.edm_sigmas",
        "loss": "ddpm.edm_loss",
        "timesteps": "ddpm.log_normal",
    },
    "vdm": {
        "denoiser": {"type": "ddpm.mlp", "hidden": 8, "depth": 1, "self_condition": True},
        "schedule": "ddpm.vdm_schedule",
        "loss": "ddpm.vdm",
    },
}


@pytest.mark.parametrize("name", SPECS)
def test_a_spec_trains_and_samples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tree = {
        "version": 1,
        "model": {"type": "diffusion", **SPECS[name], "sampler": {"type": "ddim", "steps": 3}},
        "data": {"type": "toy2d", "size": 64, "held_out": 16},
        "train": {"steps": 2, "batch_size": 8, "device": "cpu"},
    }
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", "net.yaml", "--quiet"]) == 0
    assert main(["sample", "runs/net", "--num", "2"]) == 0


def test_a_transformer_of_classes_trains_and_samples(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = {"type": "ddpm.dit", "hidden": 8, "depth": 1, "heads": 2, "classes": 6, "patch": 4}
    tree = {
        "version": 1,
        "model": {
            "type": "diffusion",
            "denoiser": {**net, "variance": "range"},
            "schedule": {"type": "ddpm.cosine", "steps": 20},
            "loss": {"type": "ddpm.hybrid"},
        },
        "data": {"type": "shapes2d", "side": 8, "size": 64, "held_out": 16, "labels": True},
        "train": {"steps": 2, "batch_size": 8, "device": "cpu", "activation_checkpointing": True},
    }
    (tmp_path / "net.yaml").write_text(yaml.safe_dump(tree))
    assert main(["train", "net.yaml", "--quiet"]) == 0
    assert main(["sample", "runs/net", "--num", "2", "--labels", "1,5", "--steps", "4"]) == 0
