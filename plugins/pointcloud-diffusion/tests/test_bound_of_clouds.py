"""What `docs/pointcloud.md` says of likelihoods: clouds have a bound, in nats and in bits."""

import math

import pytest
import torch

from corekit.build import build
from corekit.spec import run_spec

NORMAL = 0.5 * math.log2(2 * math.pi * math.e)
"""Bits per coordinate of a standard normal."""
GAP = 0.03
"""Above them at most: the step back to the data has the small variance (`fixed_log_variance`)."""


@pytest.fixture(scope="module")
def model():
    """A new network whose v is 0: the model of a standard normal."""
    small = {"hidden": 4, "tokens": 2, "width": 4, "depth": 1, "heads": 1}
    return build(
        run_spec(
            {
                "version": 1,
                "model": {
                    "type": "diffusion",
                    "denoiser": {"type": "pointcloud.set_transformer", "predicts": "v", **small},
                    "schedule": {"type": "pointcloud.variance_schedule"},
                    "loss": {"type": "ddpm.mse", "target": "v"},
                    "fixed_variance": "large",
                },
                "data": {"type": "shapes3d", "points": 20},
            }
        )
    ).eval()


def test_a_model_of_a_standard_normal_has_its_bits(model):
    x = torch.randn(300, 20, 3, generator=torch.Generator().manual_seed(0))
    found = model.density.bound(x, generator=torch.Generator().manual_seed(1))
    error = found.total.std().item() / math.sqrt(300)
    assert NORMAL - 3 * error < found.total.mean().item() < NORMAL + GAP + 3 * error
    assert torch.allclose(found.prior + found.steps.sum(1), found.total, atol=1e-4)


def test_nats_of_a_cloud_are_its_bits_times_its_coordinates(model):
    x = torch.randn(2000, 20, 3, generator=torch.Generator().manual_seed(0))
    nats = model.log_prob(x, generator=torch.Generator().manual_seed(1))
    assert nats.kind.value == "bound"
    bits = -nats.value / (20 * 3 * math.log(2))
    error = bits.std().item() / math.sqrt(2000)
    assert NORMAL - 3 * error < bits.mean().item() < NORMAL + GAP + 3 * error
