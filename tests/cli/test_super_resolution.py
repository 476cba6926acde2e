"""Super-resolution as a user types it: trained on small copies, sampled from files of them."""

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from corekit.checkpoint import load
from corekit.cli.main import main
from corekit.data.given_images import given_images
from corekit.data_spec import DataSpec, pixel_spec
from corekit.errors import DataError
from corekit.interfaces.draws import RowDraws
from corekit.interfaces.records import Condition

SPEC = {
    "version": 1,
    "model": {
        "type": "diffusion",
        "denoiser": {
            "type": "ddpm.unet",
            "channels": 4,
            "multipliers": [1],
            "blocks": 1,
            "attention": [],
            "heads": 1,
            "classes": 4,
        },
        "schedule": {"type": "ddpm.cosine", "steps": 4},
        "loss": "ddpm.mse",
    },
    "data": {
        "type": "low_res",
        "of": {"type": "shapes32", "side": 8, "size": 24, "held_out": 6, "labels": True},
    },
    "train": {"steps": 2, "batch_size": 8, "device": "cpu"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("super")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    where = folder / "run"
    assert main(["train", str(folder / "spec.yaml"), "--run", str(where), "--quiet"]) == 0
    return where


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


SMALL = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("form", ["npz", "npy", "folder"])
def test_samples_are_made_from_the_images_of_a_file(run, here, form):
    if form == "npz":
        np.savez("small.npz", SMALL, np.array([0, 1, 2]))
    if form == "npy":
        np.save("small.npy", SMALL.transpose(0, 3, 1, 2) / 127.5 - 1)
    if form == "folder":
        (here / "small.folder").mkdir()
        for i, pixels in enumerate(SMALL):
            Image.fromarray(pixels).save(f"small.folder/{i}.png")
    given = ["--images", f"small.{form}", "--labels", "2,-1", "--num", "4", "--seed", "5"]
    assert main(["sample", str(run), *given, "--npz", "--out", "large"]) == 0
    images = torch.from_numpy(SMALL / 127.5 - 1).float().permute(0, 3, 1, 2)[[0, 1, 2, 0]]
    condition = Condition(image=images, labels=torch.tensor([2, -1, 2, -1]))
    wanted = load(run).sample(4, condition, generator=RowDraws(5, range(4)))
    np.testing.assert_allclose(np.load("large.npy"), wanted, atol=1e-4)
    with np.load("large.npz") as archive:
        assert archive["arr_0"].dtype == np.uint8
        pixels = ((wanted.clamp(-1, 1) + 1) * 127.5).permute(0, 2, 3, 1)
        assert np.abs(archive["arr_0"] - pixels.numpy()).max() <= 0.51
        assert archive["arr_1"].tolist() == [2, -1, 2, -1]


def test_without_a_file_the_images_are_those_of_held_out_examples(run, capsys):
    capsys.readouterr()
    assert main(["sample", str(run), "--num", "2", "--out", "x"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "x.png"
    assert np.load("x.npy").shape == (2, 3, 8, 8)


def fails(capsys, words, *command):
    capsys.readouterr()
    assert main([*command]) in (2, 5)
    assert words in capsys.readouterr().err


def test_mistakes_are_explained(run, capsys):
    np.save("large.npy", np.zeros((1, 3, 8, 8)))
    sample = ["sample", str(run), "--out", "x"]
    fails(capsys, "images must be (4, 4, 3) in uint8", *sample, "--images", "large.npy")
    fails(capsys, "cannot be read", *sample, "--images", "none.npy")
    fails(capsys, "must have one temperature", *sample, "--npz", "--temperature", "0.5,1")


def test_pixels_become_levels_of_the_data(here):
    data = pixel_spec((1, 2, 2), (0.0, 3.0), bits=2)
    pixels = np.array([[[0, 255], [85, 170]]], dtype=np.uint8)[0]
    Image.fromarray(pixels).save("a.png")
    found = given_images(here / "a.png", (1, 2, 2), data)
    torch.testing.assert_close(found, torch.tensor([[[[0.0, 3.0], [1.0, 2.0]]]]))
    with pytest.raises(DataError, match="must be 3 pixels high and 2 wide, got 2 and 2"):
        given_images(here / "a.png", (1, 3, 2), DataSpec((1, 3, 2)))
    (here / "empty").mkdir()
    with pytest.raises(DataError, match="must hold images, got none"):
        given_images(here / "empty", (1, 2, 2), data)
    np.savez("two.npz", a=pixels, b=pixels)
    with pytest.raises(DataError, match="arr_0, or one alone, got a, b"):
        given_images(here / "two.npz", (1, 2, 2), data)
