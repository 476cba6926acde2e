"""Which posterior goes with which prior, from a spec."""

import pytest
import torch

from corekit import build
from corekit.errors import ShapeError, SpecError
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch
from corekit.spec import check_spec, run_spec


def seed(number=0):
    return torch.Generator().manual_seed(number)


RUN = {
    "version": 1,
    "model": {
        "type": "latent",
        "encoder": {"type": "vae.mlp", "latent_dim": 4, "hidden": [8]},
        "prior": "normal",
        "decoder": {"type": "gaussian", "hidden": [8]},
    },
    "data": {"type": "toy2d", "density": "moons"},
}


def of(posterior, prior):
    inner = {**RUN["model"]["encoder"], "posterior": posterior}
    return {**RUN, "model": {**RUN["model"], "encoder": inner, "prior": prior}}


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        ("vae.von_mises_fisher", "normal"),
        ("vae.gaussian", "vae.sphere"),
        ("vae.gumbel", "gaussian"),
        ("vae.low_rank", "vae.categories"),
    ],
)
def test_a_prior_that_lives_elsewhere_is_refused_by_the_spec(posterior, prior):
    with pytest.raises((SpecError, ShapeError)) as caught:
        check_spec(run_spec(of(posterior, prior)))
    assert "model.prior" in str(caught.value)
    assert "model.encoder" in str(caught.value)


@pytest.mark.parametrize(
    ("posterior", "prior", "kind"),
    [
        ("vae.full_gaussian", "vae.vamp", Likelihood.WEIGHT),
        ("vae.low_rank", "vae.mixture", Likelihood.WEIGHT),
        ("vae.mixture", "gaussian", Likelihood.WEIGHT),
        (
            {"type": "vae.flow", "bijector": "realnvp.maf", "context": 3},
            "normal",
            Likelihood.WEIGHT,
        ),
        ("vae.von_mises_fisher", "vae.sphere", Likelihood.WEIGHT),
        ("vae.von_mises_fisher", "vae.vamp", Likelihood.WEIGHT),
        ({"type": "vae.flow", "bijector": "realnvp.maf"}, "vae.vamp", Likelihood.WEIGHT),
        (
            {"type": "vae.gumbel", "categories": 3},
            {"type": "vae.categories", "categories": 3},
            Likelihood.NONE,
        ),
    ],
)
def test_each_posterior_trains_with_a_prior_and_samples(posterior, prior, kind):
    made = build(run_spec(of(posterior, prior)))
    assert made.kind is kind
    x = torch.randn(16, 2)
    made.initialize(Batch(x))
    optimizer = torch.optim.Adam(made.parameters(), 1e-2)
    for step in range(3):
        made.at_step(step)
        optimizer.zero_grad()
        made(Batch(x)).total.mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())
        optimizer.step()
    assert made.sample(3, temperature=0.7, generator=seed()).isfinite().all()
    assert made.encode(x[:1]).shape == (1, *made.encoder.latent_shape)
