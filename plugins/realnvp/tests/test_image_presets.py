"""The presets for images train, and their runs can be used."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from corekit.build import build
from corekit.cli.main import main
from corekit.data_spec import Support
from corekit.spec import load_spec

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALLER = {
    "realnvp_image": {
        "data.path": "pictures",
        "data.size": 8,
        "model.bijector.of[1].filters": 4,
        "model.bijector.of[1].blocks": 1,
    },
    "arflow_pixelcnn": {
        "data.side": 8,
        "data.size": 24,
        "data.held_out": 6,
        "model.bijector.of[1].net.filters": 6,
        "model.bijector.of[1].net.layers": 1,
        "model.bijector.of[1].univariate.components": 2,
    },
}


@pytest.mark.parametrize("preset", list(SMALLER))
def test_a_preset_trains_and_samples_levels(preset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "pictures").mkdir()
    for i in range(20):
        pixels = rng.integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{i}.png")
    train = {"train.steps": 2, "train.batch_size": 4, "train.device": "cpu"}
    sets = [
        word
        for name, value in {**SMALLER[preset], **train}.items()
        for word in ("--set", f"{name}={value}")
    ]
    spec = str(EXAMPLES / f"{preset}.yaml")
    assert main(["validate", spec, *sets]) == 0
    assert main(["train", spec, "--run", str(tmp_path / "run"), "--quiet", *sets]) == 0
    assert main(["evaluate", "run", "--split", "val"]) == 0
    assert "bits_per_dim/mean" in capsys.readouterr().out
    assert main(["sample", "run", "--num", "3", "--out", "made"]) == 0
    data = load_spec(spec, sets[1::2]).spec.data.data_spec()
    level = (np.load("made.npy") - data.lowest) / data.bin_width
    assert np.allclose(level, level.round(), atol=1e-4)
    assert level.min() >= 0
    assert level.max() < data.levels


def test_the_preset_for_pixels_leaves_no_mass_outside_of_the_data():
    """The original models all real numbers, of which [0, 1] is a part."""
    spec = load_spec(EXAMPLES / "arflow_pixelcnn.yaml").spec
    with torch.device("meta"):
        model = build(spec)
    assert model.density.support is model.dequantize.codomain is Support.UNIT_INTERVAL


def test_the_preset_for_pictures_has_the_layers_and_size_of_the_original():
    """Without its data: built for 3 x 32 x 32 pictures of two bits, on no device."""
    spec = load_spec(EXAMPLES / "realnvp_image.yaml").spec
    with torch.device("meta"):
        model = build(spec)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert round(total / 1e6, 2) == 14.62
    assert model.data.levels == 4
