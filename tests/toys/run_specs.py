"""Tiny runs of each sort of model, for the tests of the trainer."""

from corekit.spec import run_spec

COUPLING = {"type": "realnvp.affine_coupling", "hidden": 8}
SCHEDULE = {"type": "ddpm.linear", "steps": 20, "beta_start": 1e-4, "beta_end": 0.5}
DIFFUSION = {
    "type": "diffusion",
    "denoiser": {"type": "pointcloud.pointwise", "hidden": [8]},
    "schedule": SCHEDULE,
    "loss": {"type": "ddpm.mse"},
    "timesteps": {"type": "toy.loss_aware"},
}
POINTNET = {"type": "pointcloud.pointnet", "latent_dim": 5, "widths": [8, 8], "head": [8]}
MODELS = {
    "flow": {
        "type": "flow",
        "bijector": {"type": "repeat", "times": 2, "of": ["toy.data_norm", COUPLING, "linear"]},
    },
    "gain": {
        "type": "flow",
        "bijector": {"type": "chain", "of": ["toy.gain", "toy.data_norm", COUPLING, "linear"]},
    },
    "diffusion": DIFFUSION,
    "latent": {
        "type": "latent",
        "encoder": POINTNET,
        "prior": {"type": "flow", "bijector": {"type": "repeat", "times": 2, "of": COUPLING}},
        "decoder": DIFFUSION,
        "loss": {"type": "weighted_elbo", "kl_weight": 1e-2, "warmup_steps": 6},
    },
    "gan": {"type": "toy.gan"},
}
CLOUDS = {"type": "shapes3d", "points": 16, "size": 24, "held_out": 9}
PLANE = {"type": "toy2d", "density": "moons", "size": 60, "held_out": 40}


def small(model, **train):
    """A spec of ten steps; keywords go into its section ``train``."""
    defaults = {
        "steps": 10,
        "batch_size": 6,
        "ema": 0.9,
        "grad_clip": 1.0,
        "log_every": 5,
        "checkpoint_every": 4,
        "device": "cpu",
    }
    data = PLANE if model in ("flow", "gain", "gan") else CLOUDS
    return run_spec(
        {"version": 1, "model": MODELS[model], "data": data, "train": {**defaults, **train}}
    )
