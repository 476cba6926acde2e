"""Objectives with a judge train in two phases; a run that stops goes on to the bit."""

import math

import pytest
import torch
from corekit_vae.objectives.adversary import default_judge
from corekit_vae.objectives.beta_tc import BetaTc
from corekit_vae.objectives.combined import Combined
from corekit_vae.objectives.dip import Dip
from corekit_vae.objectives.elbo import Elbo
from corekit_vae.objectives.factor import Factor, permuted
from corekit_vae.objectives.gan import Gan
from corekit_vae.objectives.iwae import Iwae
from corekit_vae.objectives.mmd import Mmd
from corekit_vae.objectives.sliced import Sliced
from host_reads import HostReads

from corekit.checkpoint import read
from corekit.checkpoint.tree import same
from corekit.data_spec import DataSpec
from corekit.flows.prior import StandardNormal
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch
from corekit.latent.decoders import GaussianDecoder
from corekit.latent.model import LatentModel
from corekit.spec import run_spec
from corekit.testing.linear_gaussian import FEATURES, LinearEncoder
from corekit.train.trainer import Trainer

JUDGE = {"type": "mlp", "hidden": [8]}
FACTOR = {"type": "vae.factor", "judge": JUDGE, "gamma": {"end": 2.0, "steps": 6}}
GAN = {"type": "vae.gan", "judge": JUDGE, "weight": {"delay": 2, "steps": 3}}
LOSSES = {
    "discriminator": FACTOR,
    "adversary": GAN,
    "discriminator and adversary": {"type": "vae.combined", "of": ["vae.elbo", FACTOR, GAN]},
}


def spec(loss, **train):
    """Ten steps on points in the plane, with an encoder of another package."""
    model = {
        "type": "latent",
        "encoder": {"type": "pointcloud.pointnet", "latent_dim": 3, "widths": [8], "head": [8]},
        "decoder": {"type": "gaussian", "hidden": [8]},
        "prior": "normal",
        "loss": loss,
    }
    data = {"type": "shapes3d", "points": 16, "size": 24, "held_out": 9}
    steps = {"steps": 10, "batch_size": 6, "log_every": 5, "checkpoint_every": 5, "device": "cpu"}
    return run_spec({"version": 1, "model": model, "data": data, "train": {**steps, **train}})


@pytest.mark.filterwarnings("ignore:.*couple the rows")
@pytest.mark.parametrize("phases", LOSSES)
def test_every_phase_moves_its_own_parameters_and_resumes_to_the_bit(phases, tmp_path):
    names = phases.split(" and ")
    trainer = Trainer(spec(LOSSES[phases], ema=0.9), tmp_path / "whole", quiet=True)
    assert [phase.name for phase in trainer.phases] == ["main", *names]
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    owned = {name: trainer.model.phase_of(name) for name in before}
    assert {name for name, phase in owned.items() if phase != "main"} == {
        name for name in before if ".judge." in name
    }
    trainer.fit()
    still = [n for n, p in trainer.model.named_parameters() if torch.equal(p, before[n])]
    assert still == ["encoder.points.0.bias"]  # a batch norm takes it away
    log = [record for record in trainer.run.records() if record["split"] == "train"]
    for own in names:
        assert math.isfinite(log[-1][f"{own}/loss"])
        assert log[-1]["units"][f"{own}/true"] == "nats of the judge"

    first = Trainer(spec(LOSSES[phases], ema=0.9), tmp_path / "parts", quiet=True)
    take = first._step

    def stop(batch):
        if first.step == 7:
            raise KeyboardInterrupt
        return take(batch)

    first._step = stop
    with pytest.raises(KeyboardInterrupt):
        first.fit()
    torch.rand(3)  # the global generator moves on in between
    again = Trainer(spec(LOSSES[phases], ema=0.9), tmp_path / "parts", resume=True, quiet=True)
    assert again.step == 5
    again.fit()
    files = ["model", "ema", "optimizer", *(f"optimizer-{own}" for own in names)]
    runs = [tmp_path / run / "checkpoints" / "step-0000010" for run in ("whole", "parts")]
    for file in files:
        assert same(*(read(run, file) for run in runs)), file


def model_of(loss, size=200):
    """An encoder, a decoder and this loss, over vectors."""
    torch.manual_seed(0)
    return LatentModel(
        DataSpec((FEATURES,), size=size),
        encoder=LinearEncoder,
        decoder=lambda **given: GaussianDecoder(**given, hidden=()),
        prior=StandardNormal,
        loss=loss,
    ).double()


def test_permuted_codes_keep_their_elements_and_lose_their_rows():
    z = torch.arange(24.0).reshape(6, 2, 2)
    found = permuted(z, torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(0)))
    for found_one, one in zip(found.flatten(1).T, z.flatten(1).T, strict=True):
        assert sorted(found_one.tolist()) == one.tolist()
    assert not torch.equal(found[:, 0, 0] + 1, found[:, 0, 1])


def trained(model, x, phase, steps=200):
    """Let a judge learn, with the model as it is; its last loss."""
    optimizer = torch.optim.Adam(model.loss.parameters(), 0.03)
    draws = Draws(torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        total = model(Batch(x), phase=phase, draws=draws).total.mean()
        total.backward()
        optimizer.step()
    return total.item()


def test_a_judge_that_has_learned_tells_the_total_correlation():
    """Of two correlated Gaussian codes, where it is known; of independent ones it is 0."""
    small = {"judge": lambda **given: Quadratic(**given)}
    n, rho = 4000, 0.8
    for mixed in (False, True):
        model = model_of(Factor(**small))
        u = torch.randn(n, 2, dtype=torch.float64)
        second = rho * u[:, 0] + math.sqrt(1 - rho**2) * u[:, 1] if mixed else u[:, 1]
        x = torch.cat([torch.stack([u[:, 0], second], 1), torch.zeros(n, 3).double()], 1)
        with torch.no_grad():
            model.encoder.mu.weight.copy_(torch.eye(2, FEATURES))
            model.encoder.mu.bias.zero_()
            model.encoder.log_var.fill_(-20.0)
        trained(model, x, "discriminator")
        found = model(Batch(x), draws=Draws()).terms["judged_total_correlation"].mean()
        wanted = -0.5 * math.log(1 - rho**2) if mixed else 0.0
        assert found.item() == pytest.approx(wanted, abs=0.06)


class Quadratic(torch.nn.Module):
    """The form that the log-ratio of two Gaussians has."""

    def __init__(self, in_shape, out_shape, context_shape):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(6))

    def forward(self, x):
        a, b = x.T
        return (torch.stack([a, b, a * a, a * b, b * b, a * 0 + 1], 1) @ self.weight)[:, None]


def test_the_adversary_sees_through_a_wrong_reconstruction_and_the_model_follows_it():
    model = model_of(Gan(judge=lambda **given: Slope(**given), weight=1.0, kl_weight=0.0))
    x = torch.randn(64, FEATURES).double() + 2
    with torch.no_grad():
        model.decoder.network[0].weight.zero_()
        model.decoder.network[0].bias.zero_()
    assert trained(model, x, "adversary", 100) < 0.3  # of log 2, where it cannot tell
    terms = model(Batch(x), draws=Draws())
    assert terms.terms["adversarial"].mean() > math.log(2)
    terms.terms["adversarial"].mean().backward()
    assert (model.decoder.network[0].bias.grad < 0).all()  # towards the data


class Slope(torch.nn.Module):
    """A linear judge."""

    def __init__(self, in_shape, out_shape, context_shape):
        super().__init__()
        self.of = torch.nn.Linear(*in_shape, *out_shape)

    def forward(self, x):
        return self.of(x)


def test_the_adversary_judges_data_as_they_are_where_the_decoder_standardises_them():
    seen = []

    class Watching(Slope):
        def forward(self, x):
            seen.append(x)
            return super().forward(x)

    model = model_of(Gan(judge=Watching))
    model.standardize([5.0] * FEATURES, [2.0] * FEATURES)
    x = torch.randn(8, FEATURES).double() * 2 + 5
    model(Batch(x), phase="adversary", draws=Draws(torch.Generator().manual_seed(0)))
    data, made = seen
    assert torch.equal(data, x)
    assert not made.requires_grad
    with torch.no_grad():
        model.decoder.network[0].weight.zero_()
    model(Batch(x), draws=Draws())
    bias = model.decoder.network[0].bias
    torch.testing.assert_close(seen[-1], (5 + 2 * bias).expand(8, -1))


def test_images_have_a_logit_for_each_pixel_and_others_one():
    loss = Gan()
    for shape, wanted in (((3, 4, 5), (1, 4, 5)), ((7,), (1,)), ((6, 3), (1,))):
        model = model_of(Elbo())
        model.data = DataSpec(shape)
        assert loss.judged(model) == (shape, wanted)
        judge = default_judge(shape, wanted, None)
        assert not judge(torch.randn(2, *shape)).any()  # it does not know yet


def test_members_have_their_phases_and_parameters():
    loss = Combined(of=[Factor(), Gan()])
    model = model_of(loss)
    assert model.phases == ("main", "discriminator", "adversary")
    phases = {model.phase_of(f"loss.of.{i}.judge.layers.0.weight") for i in (0, 1)}
    assert phases == {"discriminator", "adversary"}
    assert model.phase_of("encoder.mu.weight") == "main"
    assert {name.split(".")[2] for name, _ in model.named_parameters() if "loss" in name} == {
        "0",
        "1",
    }


@pytest.mark.parametrize(
    "loss",
    [
        Elbo(kl_weight={"steps": 3, "shape": "cyclic"}, free_bits=0.1, groups=2),
        Elbo(capacity={"steps": 3}, kl="draw"),
        Combined(of=[Elbo(), BetaTc(), Dip(), Mmd(), Sliced(), Factor(), Gan()]),
        Iwae(samples=3, groups=2, estimator="dreg"),
    ],
)
def test_no_step_waits_for_the_device(loss):
    model = model_of(loss)
    x = torch.randn(6, FEATURES).double()
    draws = Draws(torch.Generator().manual_seed(0))
    with HostReads() as reads:
        for step in range(2):
            model.at_step(step)
            for phase in model.phases:
                model(Batch(x), phase=phase, draws=draws).total.mean().backward()
    assert reads.found == []
