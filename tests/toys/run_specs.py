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
    "second_moment": {
        **DIFFUSION,
        "schedule": {**SCHEDULE, "respacing": "4"},
        "timesteps": {"type": "ddpm.loss_second_moment", "history": 3},
    },
    "antithetic": {**DIFFUSION, "timesteps": {"type": "ddpm.antithetic"}},
}
MADE = {"type": "realnvp.made", "hidden": [8]}
IMAGE = {"type": "realnvp.image", "filters": 4, "blocks": 1, "scales": 2, "actnorm": "between"}
FLOWS = {
    "nsf": {"type": "realnvp.rational_quadratic", "hidden": 8},
    "maf": [
        {"type": "realnvp.maf", "hidden": [8]},
        {"type": "realnvp.autoregressive", "univariate": "realnvp.rational_quadratic", "net": MADE},
    ],
    "mixture_1d": {"type": "realnvp.mixture_cdf", "components": 3, "family": "normal"}
    | {"latent": "probit"},
    "realnvp_image": [{"type": "logit", "alpha": 0.05}, IMAGE],
    "pixels": [
        {"type": "logit", "alpha": 0.05},
        {
            "type": "realnvp.autoregressive",
            "univariate": {"type": "realnvp.mixture_cdf", "components": 2},
            "net": {"type": "realnvp.pixelcnn", "filters": 6, "layers": 1, "kernel": 3},
        },
    ],
    "residual": {"type": "realnvp.residual", "hidden": [8]},
    "glow": {"type": "glow.glow", "levels": 2, "steps": 2, "hidden": 4},
    "continuous": {"type": "realnvp.continuous", "steps": 2},
    "augmented": {"type": "realnvp.rational_quadratic", "hidden": 8},
    "sliced": {"type": "realnvp.maf", "hidden": [8]},
}
NOISE = {"type": "coupling", "split": "checkerboard", "net": {"type": "convnet", "hidden": 3}}
FRONT = {
    "realnvp_image": {"dequantize": "realnvp.uniform_dequantize"},
    "glow": {"dequantize": "realnvp.uniform_dequantize"},
    "pixels": {
        "dequantize": {"type": "realnvp.variational_dequantize", "bijector": NOISE},
        "base": "logistic",
    },
    "augmented": {"surjection": {"type": "realnvp.augment", "extra": 2}},
    "sliced": {"surjection": "realnvp.slice"},
}
for name, of in FLOWS.items():
    MODELS[name] = {
        "type": "flow",
        "bijector": {"type": "chain", "of": of} if isinstance(of, list) else of,
        **FRONT.get(name, {}),
    }
CLOUDS = {"type": "shapes3d", "points": 16, "size": 24, "held_out": 9}
PLANE = {"type": "toy2d", "density": "moons", "size": 60, "held_out": 40}
SHAPES = {"type": "shapes2d", "side": 8, "size": 60}
DATA = {
    **{name: PLANE for name in ("flow", "gain", "gan", *FLOWS)},
    "mixture_1d": {"type": "toy1d", "density": "mixture", "size": 60, "held_out": 40},
    "realnvp_image": SHAPES,
    "glow": {**SHAPES, "held_out": 9},
    "pixels": SHAPES,
}


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
    data, train = DATA.get(model, CLOUDS), {**defaults, **train}
    return run_spec({"version": 1, "model": MODELS[model], "data": data, "train": train})
