"""A flow in the plane is drawn as samples beside its density, also while it trains."""

import pytest
import torch
from PIL import Image
from run_specs import PLANE

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.spec import run_spec
from corekit.train import sampling
from corekit.train.sampling import sample_and_save
from corekit.train.trainer import Trainer

LAYERS = {"type": "chain", "of": [{"type": "realnvp.rational_quadratic", "hidden": 8}, "linear"]}


def spec(**model):
    train = {"steps": 4, "batch_size": 8, "sample_every": 2, "samples": 50, "device": "cpu"}
    model = {"type": "flow", "bijector": LAYERS, **model}
    return run_spec({"version": 1, "model": model, "data": PLANE, "train": train})


def width(path):
    with Image.open(path) as image:
        return image.width


def test_pictures_of_a_run_show_the_density(tmp_path):
    Trainer(spec(), tmp_path, quiet=True).fit()
    pictures = sorted((tmp_path / "samples").glob("*.png"))
    assert [picture.name for picture in pictures] == ["step-0000002.png", "step-0000004.png"]
    assert all(width(picture) == 2 * 540 for picture in pictures)


def test_the_density_that_is_drawn_is_that_of_the_model(tmp_path, monkeypatch):
    """Its integral over the plane is one, and it is log_prob where it is asked."""
    seen = {}

    def keep(samples, path, captions, data, log_density):
        seen["log_density"] = log_density

    monkeypatch.setattr(sampling, "save_picture", keep)
    model = build(spec()).eval()
    sample_and_save(model, tmp_path / "x", 5, 0)
    points = torch.randn(sampling._CHUNK + 3, 2)
    with torch.no_grad():
        torch.testing.assert_close(seen["log_density"](points), model.log_prob(points).value)
    axis = torch.linspace(-8, 8, 201)
    log_p = seen["log_density"](torch.cartesian_prod(axis, axis))
    assert log_p.exp().sum() * 0.08**2 == pytest.approx(1, abs=1e-3)


def test_where_the_samples_do_not_follow_a_known_density_there_is_none(tmp_path):
    model = build(spec()).eval()
    cases = {"cold": (model, {"temperature": 0.5}), "cut": (model, {"truncate": 1.0})}
    cases["bound"] = (build(spec(surjection="realnvp.augment")), {})
    line = run_spec({"version": 1, "model": {"type": "flow", "bijector": "linear"}, "data": PLANE})
    cases["space"] = (build(line, data=DataSpec((3,))), {})
    for name, (part, options) in cases.items():
        made = sample_and_save(part.eval(), tmp_path / name, 5, 0, **options)
        assert made.suffix == (".npy" if name == "space" else ".png")
        if made.suffix == ".png":
            assert width(made) == 540
