"""What a sampler goes through, kept step by step."""

import pytest
import torch

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.diffusion.model import DiffusionModel
from corekit.diffusion.samplers import Ancestral, Ddim
from corekit.diffusion.schedules import linear_betas
from corekit.errors import UsageError
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.interfaces.loss import DenoisingLoss
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.spec import run_spec
from corekit.testing.oracle import GaussianOracle, OracleDenoiser
from corekit.train.filming import Recorder, film
from corekit.train.sampling import generate, made_by_steps


class Error(DenoisingLoss):
    """Needed to build a model."""

    name, unit = "error", "squared error per coordinate"

    def forward(self, prediction, x_0, x_t, eps, level):
        return (prediction.eps - eps).square().flatten(1).mean(1)


def model(standardized=False, sampler=None):
    def oracle(**given):
        return OracleDenoiser(GaussianOracle(torch.zeros(4, 3), torch.ones(4, 3)))

    data = DataSpec((4, 3))
    schedule = DiscreteSchedule(linear_betas(40))
    made = DiffusionModel(
        data, denoiser=oracle, schedule=schedule, loss=Error(), sampler=sampler or Ancestral()
    )
    if standardized:
        made.standardize((5.0,), (2.0,))
    return made


@pytest.mark.parametrize("standardized", [False, True])
def test_a_film_ends_with_the_samples(standardized):
    subject = model(standardized)
    frames = film(subject, 3, seed=1, most=10)
    assert 5 <= len(frames) <= 10
    wanted = generate(subject, 70, 1)[:3]
    torch.testing.assert_close(frames[-1], wanted)
    assert not torch.allclose(frames[-2], frames[-1])


def test_a_sampler_of_few_steps_is_kept_whole():
    assert len(film(model(sampler=Ddim(steps=6)), 2, seed=0, most=10)) == 6


def test_steps_are_kept_evenly_and_the_last_one_always():
    recorder = Recorder(5)
    for step in range(1, 102):
        recorder(step, torch.tensor(float(step)), None)
    kept = [frame.item() for frame in recorder.frames]
    assert kept == [32, 64, 96, 101]


def test_a_model_of_one_pass_has_no_film():
    with pytest.raises(UsageError, match="in one pass"):
        film(FlowModel(DataSpec((3,)), bijector=Linear), 2, seed=0, most=5)


def test_steps_and_films_are_those_of_the_data_not_of_the_latents():
    diffusion = {
        "type": "diffusion",
        "schedule": {"type": "ddpm.linear", "steps": 30},
        "loss": {"type": "ddpm.mse", "target": "v"},
    }
    net = {"type": "ddpm.mlp", "hidden": 8, "depth": 1, "predicts": "v"}
    points = {"type": "pointcloud.pointwise", "hidden": [4], "predicts": "v"}
    spec = {
        "version": 1,
        "model": {
            "type": "latent",
            "encoder": {"type": "pointcloud.pointnet", "latent_dim": 2, "widths": [4], "head": [4]}
            | {"posterior": "point"},
            "prior": {**diffusion, "denoiser": net, "sampler": {"type": "ancestral", "steps": 3}},
            "decoder": {**diffusion, "denoiser": points, "sampler": {"type": "ddim", "steps": 5}},
        },
        "data": {"type": "toy2d"},
    }
    subject = build(run_spec(spec), data=DataSpec((4, 3)))
    subject.standardize((5.0,), (2.0,))
    assert made_by_steps(subject) is subject.decoder
    frames = film(subject, 2, seed=0, most=10)
    assert len(frames) == 5
    torch.testing.assert_close(frames[-1], generate(subject, 2, 0))
