"""Every preset trains, samples, and is loaded again."""

from pathlib import Path

import pytest
import torch

from corekit.checkpoint import load
from corekit.diffusion.samplers import Ddim
from corekit.interfaces.records import Condition
from corekit.spec import load_spec
from corekit.train.stages import train_stages
from corekit.train.trainer import Trainer

PRESETS = sorted(Path(__file__).parents[1].glob("examples/*.yaml"))
FEW = [
    "train.steps=2",
    "train.batch_size=8",
    "train.sample_every=null",
    "train.lr_schedule=constant",
]


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_trains_and_samples(preset, tmp_path):
    spec = load_spec(str(preset), FEW).spec
    run = tmp_path / "run"
    if spec.stages:
        train_stages(spec, run, quiet=True)
    else:
        Trainer(spec, run, quiet=True).fit()
    model = load(run)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    if getattr(model, "prior", None) is None:
        return
    labels = None
    if getattr(model, "given", None) is not None:
        labels = Condition(labels=torch.tensor([3, 7]))
    options = {"sampler": Ddim(steps=2)} if "diffusion" in preset.stem else {}
    assert model.sample(2, labels, **options).shape == (2, *model.data.event_shape)
