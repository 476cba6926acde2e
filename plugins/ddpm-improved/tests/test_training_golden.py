"""Six steps of training: the losses, gradients, weights and averages of improved-diffusion."""

import csv
from functools import partial

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.bound_losses import RescaledMse
from corekit_ddpm_improved.guided import names, weights_of
from corekit_ddpm_improved.schedules import Cosine
from corekit_ddpm_improved.unet import UNet

from corekit.data_spec import DataSpec
from corekit.diffusion.density import DiffusionDensity
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.timestep_sampler import TimestepSampler
from corekit.train.ema import Ema

PIXELS = DataSpec((3, 8, 8), levels=256, bin_width=2 / 255, lowest=-1.0)


class Given(TimestepSampler):
    """The steps and weights of the reference's sampler."""

    def sample(self, n, schedule, draws, device, **ranks):
        return schedule.level(self.t), self.weight


def arrays(path):
    with np.load(path) as archive:
        return {name: torch.from_numpy(np.array(archive[name])) for name in archive.files}


@pytest.fixture
def run(golden):
    """What the reference was given and got, and our model with its first weights."""
    net = partial(
        UNet,
        channels=64,
        multipliers=(1, 1),
        blocks=1,
        attention=(2,),
        heads=2,
        step_scale=10.0,
        variance="range",
    )
    loss = RescaledMse()
    loss.approximate = True
    model = DiffusionDensity(
        (3, 8, 8),
        denoiser=net,
        schedule=Cosine(steps=100),
        loss=loss,
        timesteps=Given(),
        data=PIXELS,
    )
    first = arrays(golden / "trainloop_init.npz")
    theirs = {key[3:]: value.float() for key, value in first.items() if key.startswith("sd/")}
    model.denoiser.load_state_dict(weights_of(model.denoiser, theirs))
    with open(golden / "trainloop_rescaled_mse.csv", encoding="utf-8") as file:
        log = list(csv.DictReader(file))
    return model, arrays(golden / "trainloop_rescaled_mse.npz"), log


def test_training_is_that_of_the_reference(run):
    model, wanted, log = run
    optimizer = torch.optim.AdamW(model.parameters(), 2e-4, weight_decay=0.05)
    ema = Ema(model, (0.9, 0.99))
    ema.steps = 10**9  # its averages do not warm up
    for step, row in enumerate(log):
        for group in optimizer.param_groups:
            group["lr"] = 2e-4 * (1 - step / 10)
        optimizer.zero_grad()
        losses = []
        for half, x in enumerate(wanted["X"][step].chunk(2)):
            k = 2 * step + half
            model.timesteps.t, model.timesteps.weight = wanted["t"][k], wanted["w"][k]
            terms = model.loss(x, None, GivenDraws({"eps": [wanted["noise"][k]]}))
            losses.append(terms.total)
            terms.total.mean().backward()  # halves are added up, not averaged
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        torch.testing.assert_close(
            torch.cat(losses).mean().item(), float(row["loss"]), rtol=2e-6, atol=0
        )
        torch.testing.assert_close(norm.item(), float(row["grad_norm"]), rtol=2e-5, atol=0)
        optimizer.step()
        ema.update()

    compared, own = 0, dict(model.denoiser.named_parameters())
    weights = [("param", own)]
    for rate in (0.9, 0.99):
        state = ema.state_dict(rate)
        weights.append((f"ema{rate}", {k.removeprefix("denoiser."): v for k, v in state.items()}))
    for ours, theirs in names(model.denoiser):
        for what in ("weight", "bias"):
            if f"{ours}.{what}" not in own or f"{ours}.{what}".endswith("qkv.bias"):
                continue  # of keys it has no gradient: steps are made of what rounding leaves
            for group, values in weights:
                key = f"{group}/{theirs}.{what}"
                if key in wanted:
                    value = values[f"{ours}.{what}"]
                    if theirs.endswith("qkv"):  # theirs lie head by head
                        value = value.reshape(3, 2, 32, -1).transpose(0, 1)
                    apart = (value.detach().reshape(wanted[key].shape) - wanted[key]).abs()
                    assert (apart > 2e-6).sum() <= ("qkv" in key)  # one weight of no gradient
                    assert apart.max() < 2e-5
                    compared += 1
            norm, value = wanted[f"norm/{theirs}.{what}"], own[f"{ours}.{what}"]
            torch.testing.assert_close(value.norm().item(), norm.item(), atol=1e-5, rtol=1e-5)
    assert compared == 18
