"""The ODE of a diffusion as a flow: trained by denoising, with the likelihood of a flow."""

import math

import pytest
import torch
from corekit_ddpm_improved.losses import Mse
from corekit_ddpm_improved.mlp import MlpDenoiser
from corekit_ddpm_improved.probability_flow import ProbabilityFlow
from corekit_ddpm_improved.schedules import Cosine
from corekit_ddpm_improved.timesteps import LossSecondMoment

from corekit.build import build, build_dataset
from corekit.diffusion.prior import DiffusionPrior
from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError
from corekit.flows.linear import Linear
from corekit.flows.prior import FlowPrior
from corekit.interfaces.draws import Draws
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Batch, Condition
from corekit.spec import run_spec
from corekit.testing.oracle import GaussianOracle, OracleDenoiser

ORACLE = GaussianOracle(
    torch.tensor([0.7, -0.4], dtype=torch.float64), torch.tensor([0.5, 0.2], dtype=torch.float64)
)


def oracle_flow(**options):
    return ProbabilityFlow(
        (2,), denoiser=lambda **given: OracleDenoiser(ORACLE, "v"), schedule=Rectified(), **options
    )


def test_a_flow_along_the_exact_ode_has_the_density_of_the_data():
    prior = FlowPrior((2,), bijector=lambda event_shape, context_shape: oracle_flow(steps=60))
    x = torch.randn(5, 2, dtype=torch.float64)
    truth = torch.distributions.Normal(ORACLE.mean, ORACLE.variances.sqrt()).log_prob(x).sum(1)
    found = prior.log_prob(x)
    assert found.kind is Likelihood.EXACT
    torch.testing.assert_close(found.value, truth, atol=2e-3, rtol=0)


def test_more_steps_bring_the_inverse_nearer():
    x, errors = torch.randn(5, 2, dtype=torch.float64), []
    for steps in (5, 10, 20):
        layer = oracle_flow(steps=steps)
        z, logdet = layer(x)
        back, inverse = layer.inverse(z)
        errors.append(max((back - x).abs().max(), (logdet + inverse).abs().max()).item())
    assert errors[2] < errors[1] / 8 < errors[0] / 64
    assert errors[2] < 1e-3


def test_it_is_trained_as_its_diffusion_model():
    def layer(event_shape, context_shape):
        return ProbabilityFlow(
            event_shape,
            context_shape,
            denoiser=lambda **given: MlpDenoiser(**given, hidden=16, predicts="v"),
            schedule=Cosine(steps=50),
            timesteps=LossSecondMoment(),
        )

    prior = FlowPrior((2,), {"vector": (3,)}, bijector=layer, train_by="denoising")
    bijector = prior.bijector
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    x, condition = torch.randn(6, 2), Condition(vector=torch.randn(6, 3))
    plain = DiffusionPrior(
        (2,),
        {"vector": (3,)},
        denoiser=lambda **given: bijector.diffusion.denoiser,
        schedule=Cosine(steps=50),
        loss=Mse("v"),
    )
    draws = [Draws(torch.Generator().manual_seed(0)) for _ in range(2)]
    found = prior.loss(x, condition, draws[0])
    plain.timesteps = bijector.diffusion.timesteps
    torch.testing.assert_close(found.total, plain.loss(x, condition, draws[1]).total)
    (path,) = found.seen
    assert prior.get_submodule(path) is bijector.diffusion.timesteps


def test_another_bijector_is_refused():
    with pytest.raises(
        UsageError, match=r"that is a diffusion .ddpm.probability_flow., got Linear"
    ):
        FlowPrior((2,), bijector=Linear, train_by="denoising")


@pytest.mark.parametrize("options", [{"solver": "heun"}, {"steps": 0}, {"trace": "none"}])
def test_bad_options_are_refused(options):
    with pytest.raises(UsageError, match="ProbabilityFlow: "):
        oracle_flow(**options)


MOONS = {
    "version": 1,
    "model": {
        "type": "flow",
        "train_by": "denoising",
        "bijector": {
            "type": "ddpm.probability_flow",
            "denoiser": {"type": "ddpm.mlp", "hidden": 96, "depth": 3, "predicts": "velocity"},
            "schedule": "ddpm.rectified",
            "loss": "ddpm.velocity",
        },
    },
    "data": {"type": "toy2d", "density": "moons"},
}


@pytest.mark.slow
def test_a_flow_trained_by_denoising_learns_a_density():
    """Some hundred steps: well below the Gaussian of the same moments, and not below the truth."""
    torch.manual_seed(0)
    spec = run_spec(MOONS)
    model, data = build(spec), build_dataset(spec)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    train = torch.stack([data.split("train").get(i, None).x for i in range(4000)])
    held_out = torch.stack([data.split("test").get(i, None).x for i in range(200)])
    for _ in range(800):
        batch = train[torch.randint(len(train), (256,))]
        optimizer.zero_grad()
        model(Batch(batch)).total.mean().backward()
        optimizer.step()
    with torch.no_grad():
        nll = -model.log_prob(held_out).value.mean().item()
    entropy = -data.log_prob(held_out).value.mean().item()
    covariance = torch.cov(held_out.T)
    gaussian = 0.5 * (torch.logdet(covariance) + 2 + 2 * math.log(2 * math.pi)).item()
    assert entropy - 0.05 < nll < gaussian - 0.3
