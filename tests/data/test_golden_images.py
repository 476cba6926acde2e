"""Images are listed, labelled, resized and scaled as improved-diffusion does."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corekit.data.image_folder import ImageFolder
from corekit.data.pixels import level_values, read_pixels

GOLDEN = os.environ.get("COREKIT_GOLDEN")
pytestmark = pytest.mark.skipif(not GOLDEN, reason="COREKIT_GOLDEN does not name a folder")
CASES = (*map(str, range(7)), "gray", "rgba")


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_those_of_the_reference(case, tmp_path):
    golden = np.load(f"{GOLDEN}/ddpm/data_pipeline.npz")
    size = int(golden[f"{case}/resolution"]) if case.isdigit() else 16
    Image.fromarray(golden[f"{case}/input"]).save(tmp_path / "x.png")
    pixels = read_pixels(tmp_path / "x.png", size)
    ours = level_values((-1, 1))[pixels.transpose(2, 0, 1)]
    assert np.abs(ours - golden[f"{case}/output"]).max() < 1e-6  # a level is 8e-3


def test_order_and_classes_are_those_of_the_reference(tmp_path):
    golden = json.loads(Path(f"{GOLDEN}/ddpm/dataset_listing.json").read_text())
    for name in reversed(golden["files_in_order"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    data = ImageFolder(tmp_path, labels="prefix", held_out=0)
    train = data.split("train")
    assert train.names == golden["files_in_order"]
    assert dict(zip(data.classes, range(99), strict=False)) == golden["classes"]
    assert train.labels == golden["labels"]
