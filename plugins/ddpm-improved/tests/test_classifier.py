"""The classifier of guided-diffusion: its numbers, and what guides samples with it."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from corekit_ddpm_improved.classifier import (
    Classifier,
    Pool,
    _names,
    classifier_of,
    read_classifier,
)
from corekit_ddpm_improved.schedules import Cosine, Linear

from corekit.diffusion.guidance import classifier_guided
from corekit.diffusion.predicting import thresholded
from corekit.diffusion.process import to_prediction
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.errors import CheckpointError, UsageError
from corekit.interfaces.draws import GivenDraws
from corekit.interfaces.records import NoiseLevel
from corekit.testing.case import redraw

SMALL = {"channels": 4, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "head_channels": 2}
POOLS = ("attention", "adaptive", "spatial_v2")


def arrays_of(folder, name):
    with np.load(folder / f"{name}.npz") as archive:
        return {key: torch.from_numpy(np.array(archive[key])) for key in archive.files}


def level_at(t):
    one = torch.ones(len(t), dtype=torch.float32)
    return NoiseLevel(t / 1000, one, one, step=t)


def weights_in(arrays):
    return {k[3:]: v for k, v in arrays.items() if k.startswith("sd/")}


@pytest.mark.parametrize("pool", POOLS)
def test_logits_and_gradients_are_the_golden_ones(golden, pool, tmp_path):
    name = f"classifier_{pool}"
    arrays = arrays_of(golden, f"adm_{name}")
    flags = json.loads((golden / "adm_configs.json").read_text())[name]
    torch.save(weights_in(arrays), tmp_path / "classifier.pt")
    net = read_classifier(
        tmp_path / "classifier.pt",
        blocks=flags["num_res_blocks"],
        size=flags["image_size"],
        num_heads=flags.get("num_heads", 1),
        num_head_channels=flags.get("num_head_channels", -1),
    )
    assert net.event_shape == (3, 16, 16)
    x = arrays["x"].requires_grad_()
    out = net(x, level_at(arrays["t"]))
    torch.testing.assert_close(out, arrays["out"], atol=2e-5, rtol=0)
    out.square().mean().backward()
    torch.testing.assert_close(x.grad, arrays["grad_x"], atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("resample", ["blocks", "convolution"])
def test_weights_of_every_pool_are_found_by_their_names(resample):
    for pool in get_args(Pool):
        net = Classifier((1, 8, 8), 3, **SMALL, resample=resample, pool=pool, step_scale=1.0).eval()
        redraw(net)
        state = net.state_dict()
        theirs = {
            f"{b}.{what}": state[f"{a}.{what}"]
            for a, b in _names(net, pool)
            for what in ("weight", "bias")
            if f"{a}.{what}" in state
        }
        if pool == "attention":
            theirs["out.2.positional_embedding"] = state["pool.position"]
        for key in [k for k in theirs if k.endswith(("1.qkv.weight", "1.qkv.bias"))]:
            theirs[key] = head_by_head(theirs[key], heads=4)
        again = classifier_of(theirs, blocks=1, size=8, num_head_channels=2)
        x, level = torch.randn(2, 1, 8, 8), level_at(torch.tensor([1, 500]))
        torch.testing.assert_close(again(x, level), net(x, level))


def head_by_head(value, heads):
    """Rows of all q, all k, all v, as the reference has them: of each head q, k, v."""
    return value.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)


def test_files_of_others_are_refused(tmp_path):
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="must be a classifier of guided-diffusion"):
        read_classifier(tmp_path / "other.pt")
    with pytest.raises(UsageError, match="pool must be one of attention, adaptive"):
        Classifier((1, 8, 8), 2, pool="max")


# -- the step of guided-diffusion ------------------------------------------------------------------


def analytic(x, level):
    """The network that the golden numbers were made with."""
    output = 0.9 * torch.tanh(0.7 * x + 0.3 * torch.cos(0.01 * told(level, x)))
    return to_prediction(output, "eps", x, level)


def told(level, x):
    return level.step.float().reshape(-1, *(1,) * (x.ndim - 1))


def property_of(x, level):
    """The log-probability whose gradient is -0.5 (x - 0.3) (1 + 0.001 t)."""
    energy = -0.25 * (x - 0.3).square() * (1 + 0.001 * told(level, x))
    return energy.flatten(1).sum(1)


@pytest.mark.parametrize("name", ["cos1000_25", "lin1000_25"])
@pytest.mark.parametrize(
    ("key", "sampler"),
    [("p_sample", Ancestral(1.0)), ("ddim", Ddim(0.0)), ("ddim_eta1", Ddim(1.0))],
)
def test_guided_steps_are_the_golden_ones(golden, name, key, sampler):
    arrays = arrays_of(golden, "adm_guidance")
    schedule = (Cosine if name.startswith("cos") else Linear)(1000, respacing="25")
    predict = classifier_guided(thresholded(analytic, -1, 1), property_of)
    wanted = arrays[f"{name}/{key}"]
    for row, t in enumerate(arrays["t"].tolist()):
        seen = []
        sampler(
            predict,
            schedule,
            arrays["x_t"][row : row + 1],
            times=torch.tensor(sorted({t + 1, t, 0}, reverse=True)) / 25,
            generator=GivenDraws({"noise": arrays["noise"][row : row + 1]}),
            callback=lambda i, x, prediction, seen=seen: seen.append(x),
        )
        torch.testing.assert_close(seen[0][0], wanted[row], atol=3e-5, rtol=1e-5)
