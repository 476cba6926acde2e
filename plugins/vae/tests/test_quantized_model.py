"""Auto-encoders through codes: both stages, their likelihood, and what is refused."""

import numpy as np
import pytest
import torch

from corekit.build import build
from corekit.checkpoint import load
from corekit.data_spec import DataSpec, pixel_spec
from corekit.errors import NoDensity, ShapeError, UsageError
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Condition
from corekit.spec import run_spec
from corekit.train.stages import train_stages

TRAIN = {"steps": 6, "batch_size": 8, "sample_every": 6, "samples": 2}
PRIOR = {"type": "vae.autoregressive", "width": 8, "layers": 1, "heads": 2}


def model_spec(**options):
    decoder = {"type": "vae.vq", "widths": [6], "blocks": 1, "likelihood": "vae.bernoulli"}
    return {
        "type": "vae.quantized",
        "encoder": {"type": "vae.vq", "latent_channels": 3, "widths": [6], "blocks": 1},
        "quantizer": {"type": "vae.vector", "codes": 5, "restart_below": 0.1, "decay": 0.9},
        "decoder": decoder,
        "prior": PRIOR,
        **options,
    }


def run(**options):
    return {
        "version": 1,
        "model": model_spec(**options),
        "data": {"type": "shapes2d", "side": 8, "size": 32, "held_out": 8, "labels": True},
        "train": TRAIN,
    }


def built(**options):
    return build(run(**options)).double().eval()


def test_its_bound_is_the_decoder_and_the_exact_codes():
    model = built()
    assert model.kind is Likelihood.BOUND
    x = torch.randint(2, (3, 1, 8, 8)).double()
    found = model.log_prob(x)
    codes = model.encode(x)
    assert codes.shape == (3, 4, 4)
    likelihood = model.decoder.log_prob(x, model._beside(codes)).value
    torch.testing.assert_close(found.value, likelihood + model.prior.log_prob(codes).value)
    drawn = model.sample(4, generator=Draws(torch.Generator().manual_seed(0)))
    assert set(drawn.flatten().tolist()) <= {0.0, 1.0}
    back = model.reconstruct(x)
    assert ((back > 0) & (back < 1)).all()  # means, not draws


def test_without_a_prior_it_is_an_auto_encoder():
    model = built(prior=None)
    assert model.kind is Likelihood.NONE
    with pytest.raises(NoDensity, match="it has no prior"):
        model.log_prob(torch.zeros(1, 1, 8, 8).double())
    with pytest.raises(UsageError, match="sample must have a prior of the codes"):
        model.sample(1)
    with pytest.raises(UsageError, match="must have a continuous latent, got codes"):
        model.interpolate(None, None, 3)


@pytest.mark.parametrize("cache", [True, False])
def test_the_prior_is_trained_in_a_later_stage(tmp_path, cache):
    stages = [
        {"name": "codes", "parts": ["encoder.*", "decoder.*"]},
        {"name": "prior", "parts": ["prior.*"], "cache": cache, "train": {**TRAIN, "steps": 4}},
    ]
    spec = run_spec({**run(), "stages": stages})
    train_stages(spec, tmp_path / "run", quiet=True)
    model = load(tmp_path / "run")
    assert model.quantizer.levels == 5
    assert torch.isfinite(model.log_prob(torch.zeros(2, 1, 8, 8)).value).all()


def test_the_prior_may_be_told_the_class():
    model = built(classes=3)
    x, labels = torch.zeros(2, 1, 8, 8).double(), torch.tensor([0, 2])
    with torch.no_grad():
        model.prior.told.weight.normal_()
        found = model.log_prob(x, Condition(labels=labels)).value
    assert found[0] != found[1]
    assert model.sample(2, Condition(labels=labels)).shape == (2, 1, 8, 8)


def test_what_does_not_fit_is_refused_before_anything_is_built():
    with pytest.raises(ShapeError, match=r"the prior must be one of codes, got normal"):
        run_spec(run(prior="normal")).model.shape(DataSpec((1, 8, 8)))
    wrong = {"type": "vae.vq", "widths": [6, 6], "blocks": 0}
    with pytest.raises(ShapeError, match=r"must be an image of \(2, 2\)"):
        run_spec(run(decoder=wrong)).model.shape(pixel_spec((1, 8, 8), (0.0, 1.0)))
    values = {"type": "vae.finite_scalar", "values": [4, 4]}
    with pytest.raises(ShapeError, match="must have 2 channels, one for each"):
        run_spec(run(quantizer=values)).model.shape(pixel_spec((1, 8, 8), (0.0, 1.0)))


def test_data_of_other_sizes_are_decoded_to_their_size():
    for size in ((7, 9), (8, 5)):
        model = build(run(), data=pixel_spec((1, *size), (0.0, 1.0), bits=1))
        x = torch.from_numpy(np.zeros((2, 1, *size), dtype=np.float32))
        assert model.reconstruct(x).shape == x.shape
