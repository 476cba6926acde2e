"""The preset of two stages, made tiny: an auto-encoder, then a diffusion prior over its latents."""

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from plane_runs import at_step
from stage_parts import of_part, trained, weights

from corekit.checkpoint import load
from corekit.checkpoint.tree import same
from corekit.cli.main import main
from corekit.spec import load_spec, run_spec
from corekit.train import stages as module

PRESET = Path(__file__).parent.parent / "examples" / "latent-diffusion.yaml"
CLOUDS = {"points": 8, "size": 24, "held_out": 6, "resample": False}


def tiny():
    """The preset with small networks, drawn shapes and six steps a stage."""
    tree = load_spec(PRESET).spec.model_dump()
    tree["data"] = {"type": "shapes3d", **CLOUDS}
    tree["metrics"] = []
    tree["model"]["encoder"] |= {"latent_dim": 3, "widths": [8], "head": [8]}
    tree["model"]["prior"]["denoiser"] |= {"hidden": 8, "depth": 1}
    tree["model"]["decoder"]["denoiser"]["hidden"] = [8]
    short = {"steps": 6, "batch_size": 8, "evaluate_every": 6, "lr_schedule": {"type": "constant"}}
    tree["train"] |= short
    for stage in tree["stages"]:
        stage["train"] |= short
    return tree


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The run without a break."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    trained(run_spec(tiny()), folder)
    return folder


def test_the_first_stage_leaves_the_prior_and_the_second_trains_nothing_else(run):
    one = weights(run, "1-autoencoder")
    start, two = weights(run, "1-autoencoder", file="ema"), weights(run, "2-prior")
    assert not one["prior.denoiser.head.weight"].any()
    assert two["prior.denoiser.head.weight"].any()
    assert same(of_part(two, "encoder.", "decoder."), of_part(start, "encoder.", "decoder."))
    assert not same(of_part(two, "prior."), of_part(one, "prior."))
    assert list((run / "stages" / "2-prior" / "cache").iterdir())


def test_the_untrained_prior_pulls_latents_to_zero_and_no_further(run):
    """Its squared error is that of a v of 0: one half and half the mean square of z."""
    torch.manual_seed(0)
    model = load(run / "stages" / "1-autoencoder")
    for size, wanted in ((0.0, 0.5), (2.0, 2.5)):
        z = torch.full((20_000, 3), size)
        with torch.no_grad():
            found = model.prior.loss(z, draws=torch.Generator().manual_seed(0)).total.mean()
        assert found.item() == pytest.approx(wanted, rel=0.02)


def test_a_run_that_was_stopped_in_the_second_stage_goes_on_as_if_it_had_not_been(
    run, tmp_path, monkeypatch
):
    make = module.Trainer

    def stopping(spec, path, **options):
        trainer = make(spec, path, **options)
        if path.name == "2-prior":
            at_step(trainer, 3, lambda: os.kill(os.getpid(), signal.SIGTERM))
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(module, "Trainer", stopping)
        made = trained(run_spec(tiny()), tmp_path / "parts")
    assert (made.reason, made.stage, made.step) == ("preempted", 2, 3)
    made = trained(run_spec(tiny()), tmp_path / "parts", resume=True)
    assert (made.reason, made.stage, made.step) == (None, 2, 6)
    for file in ("model", "ema", "optimizer"):
        parts = weights(tmp_path / "parts", "2-prior", file=file)
        assert same(weights(run, "2-prior", file=file), parts)


def test_samples_are_drawn_through_both_diffusions(run, tmp_path):
    words = ["--num", "3", "--points", "5", "--h5", "--out", str(tmp_path / "made")]
    assert main(["sample", str(run), *words]) == 0
    with h5py.File(next(tmp_path.rglob("*.h5"))) as file:
        assert file["samples/test"].shape == (3, 5, 3)
        assert np.isfinite(file["samples/test"][:]).all()
