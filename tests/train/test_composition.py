"""Parts of five packages combine: every pair that fits is built, trained, sampled and loaded."""

import re
from itertools import product

import numpy as np
import pytest
import torch
from covering import covering

from corekit.checkpoint import load
from corekit.errors import CorekitError
from corekit.interfaces.draws import Draws
from corekit.spec import run_spec
from corekit.train.trainer import Trainer

COUPLING = {"type": "realnvp.affine_coupling", "hidden": 6}
SCHEDULE = {"type": "ddpm.linear", "steps": 10, "beta_start": 1e-2, "beta_end": 0.9}
POINTWISE = {"type": "pointcloud.pointwise", "hidden": [6]}
UNET = {"type": "ddpm.unet", "channels": 4, "multipliers": [1], "blocks": 1, "attention": []}

ENCODERS = {
    "mlp": {"type": "vae.mlp", "hidden": [6], "latent_dim": 4},
    "conv": {"type": "vae.conv", "widths": [4, 4], "latent_dim": 4},
    "resnet": {"type": "vae.resnet", "widths": [4], "blocks": 1, "latent_dim": 4},
    "image": {"type": "vae.conv", "widths": [4], "latent_channels": 2},
    "kl": {"type": "vae.kl", "widths": [4, 4], "blocks": 1, "groups": 2, "latent_channels": 2},
    "pointnet": {"type": "pointcloud.pointnet", "latent_dim": 4, "widths": [4], "head": [4]},
}
POSTERIORS = {
    "gaussian": "vae.gaussian",
    "full": "vae.full_gaussian",
    "low_rank": "vae.low_rank",
    "mixture": "vae.mixture",
    "flow": {"type": "vae.flow", "context": 3, "bijector": {"type": "realnvp.maf", "hidden": [6]}},
    "sphere": "vae.von_mises_fisher",
    "gumbel": {"type": "vae.gumbel", "categories": 3},
    "point": "vae.point",
}
PRIORS = {
    "normal": "normal",
    "gaussian": "gaussian",
    "mixture": {"type": "vae.mixture", "components": 2},
    "vamp": {"type": "vae.vamp", "pseudo_inputs": 2},
    "realnvp": {"type": "flow", "bijector": COUPLING},
    "glow": {
        "type": "flow",
        "bijector": {"type": "glow.glow", "levels": 1, "steps": 1, "hidden": 4},
    },
    "diffusion": {"type": "diffusion", "denoiser": {"type": "ddpm.mlp", "hidden": 8, "depth": 1}}
    | {"schedule": SCHEDULE, "loss": "ddpm.mse"},
    "sphere": "vae.sphere",
    "categories": {"type": "vae.categories", "categories": 3},
    "none": None,
}
DECODERS = {
    "mlp": {"type": "vae.mlp", "hidden": [6], "likelihood": {"type": "vae.bernoulli"}},
    "conv": {"type": "vae.conv", "widths": [4, 4]}
    | {"likelihood": {"type": "vae.discretized_logistic", "components": 1, "levels": 2}},
    "resnet": {"type": "vae.resnet", "widths": [4], "blocks": 1},
    "kl": {"type": "vae.kl", "widths": [4, 4], "blocks": 1, "groups": 2},
    "core": {"type": "gaussian", "hidden": [6]},
    "unet": {"type": "diffusion", "denoiser": UNET, "schedule": SCHEDULE, "loss": "ddpm.mse"},
    "cloud": {"type": "diffusion", "denoiser": POINTWISE, "schedule": SCHEDULE, "loss": "ddpm.mse"},
}
SAMPLED = {"sample_every": 3, "samples": 2}
IMAGES = {"type": "shapes2d", "side": 8, "size": 16, "held_out": 4}
CLOUDS = {"type": "shapes3d", "categories": ["chair"], "points": 12, "size": 16, "held_out": 4}


def fits(encoder, posterior, prior, decoder):
    """Whether the four are meant for each other; what is not, is refused (see below)."""
    cloud, image = encoder == "pointnet", encoder in ("image", "kl")
    if cloud and posterior not in ("gaussian", "point"):
        return False  # its posterior is its own
    if image and posterior in ("flow", "sphere", "gumbel"):
        return False  # for vectors
    if (posterior == "sphere") != (prior == "sphere"):
        return False
    if (posterior == "gumbel") != (prior == "categories"):
        return False
    if prior == "glow" and encoder != "image":
        return False  # an image of even sides
    if image and prior == "diffusion":
        return False  # its denoiser is one of vectors
    if prior == "diffusion" and posterior != "point":
        return False  # its error is no density: see docs/vae.md
    if prior == "none" and posterior != "point":
        return False
    if prior == "vamp" and posterior in ("point", "flow"):
        return False  # no density; one that is inverted latent by latent
    if (decoder == "cloud") != cloud:
        return cloud and decoder in ("core",)
    return True


def spec_of(encoder, posterior, prior, decoder):
    cloud = encoder == "pointnet"
    own = {"posterior": POSTERIORS[posterior]}
    if cloud:
        own = {"posterior": "point"} if posterior == "point" else {}
    return {
        "version": 1,
        "model": {
            "type": "latent",
            "encoder": {**ENCODERS[encoder], **own},
            "prior": PRIORS[prior],
            "decoder": DECODERS[decoder],
        },
        "data": CLOUDS if cloud else IMAGES,
        "train": {"steps": 3, "batch_size": 4, **({} if prior == "none" else SAMPLED)},
    }


EVERY = [case for case in product(ENCODERS, POSTERIORS, PRIORS, DECODERS) if fits(*case)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*short of noise")
@pytest.mark.parametrize("case", covering(EVERY, 2), ids="-".join)
def test_parts_of_five_packages_are_one_model(case, tmp_path):
    trainer = Trainer(run_spec(spec_of(*case)), tmp_path / "run", quiet=True)
    trainer.fit()
    model = load(tmp_path / "run")
    test, rng = trainer.dataset.split("test"), np.random.default_rng(0)
    x = torch.stack([test.get(i, rng).x for i in range(2)])
    back = model.reconstruct(x, generator=draws())
    assert back.shape == x.shape
    assert back.isfinite().all()
    if model.prior is None:
        return
    made = model.sample(2, generator=draws())
    assert made.shape == x.shape
    assert made.isfinite().all()
    again = load(tmp_path / "run").sample(2, generator=draws())
    assert torch.equal(made, again)


def draws():
    return Draws(torch.Generator().manual_seed(0))


REFUSED = {
    ("mlp", "sphere", "normal", "mlp"): "live where the latents lie (sphere",
    ("mlp", "gaussian", "sphere", "mlp"): "live where the latents lie (real",
    ("mlp", "gumbel", "mixture", "mlp"): "live where the latents lie (simplex",
    ("conv", "gaussian", "glow", "conv"): "must be (channels, height, width), got (4,)",
    ("pointnet", "gaussian", "normal", "conv"): "must be an image",
}


@pytest.mark.parametrize("case", REFUSED, ids="-".join)
def test_what_does_not_fit_is_refused_in_words(case, tmp_path):
    with pytest.raises(CorekitError, match=re.escape(REFUSED[case])):
        Trainer(run_spec(spec_of(*case)), tmp_path / "run", quiet=True)


def test_a_likelihood_refuses_other_data(tmp_path):
    spec = spec_of("mlp", "gaussian", "normal", "mlp")
    gray = {**spec, "data": {"type": "shapes32", "side": 8, "size": 16, "held_out": 4}}
    with pytest.raises(CorekitError, match=r"Bernoulli: data must lie in \[0, 1\]"):
        Trainer(run_spec(gray), tmp_path / "run", quiet=True)
