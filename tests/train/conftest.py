"""A small run with three packages' parts."""

import pytest

from corekit.spec import run_spec


@pytest.fixture
def tree():
    """A fresh spec mapping: FlowVAE on drawn shapes, tiny."""
    return {
        "version": 1,
        "model": {
            "type": "latent",
            "encoder": {
                "type": "pointcloud.pointnet",
                "latent_dim": 5,
                "widths": [8, 8],
                "head": [8],
            },
            "prior": {
                "type": "flow",
                "bijector": {
                    "type": "repeat",
                    "times": 2,
                    "of": {"type": "realnvp.affine_coupling", "hidden": 8},
                },
            },
            "decoder": {
                "type": "diffusion",
                "denoiser": {"type": "pointcloud.pointwise", "hidden": [8]},
                "schedule": {
                    "type": "ddpm.linear",
                    "steps": 20,
                    "beta_start": 1e-4,
                    "beta_end": 0.5,
                },
                "loss": {"type": "ddpm.mse"},
            },
            "loss": {"type": "weighted_elbo", "kl_weight": 1e-2, "warmup_steps": 15},
        },
        "data": {"type": "shapes3d", "points": 16, "size": 24, "held_out": 6},
        "train": {
            "steps": 20,
            "batch_size": 7,
            "ema": 0.9,
            "grad_clip": 1.0,
            "lr_schedule": {"type": "linear_decay", "start": 5, "end": 20, "end_lr": 1e-4},
            "log_every": 5,
            "checkpoint_every": 100,
            "device": "cpu",
        },
    }


@pytest.fixture
def make_spec(tree):
    """Keywords of the section ``train`` -> the spec."""
    return lambda **train: run_spec({**tree, "train": {**tree["train"], **train}})
