"""How core's own components are tested, where the defaults do not do."""

from typing import Any

from corekit.testing.conformance import Conformance
from corekit.testing.data_files import ARRAYS as ARRAYS
from corekit.testing.data_files import CSV as CSV
from corekit.testing.data_files import IDX as IDX
from corekit.testing.data_files import IMAGE_FOLDER as IMAGE_FOLDER

LINEAR = Conformance(options=({}, {"bias": False}))
REPEAT = Conformance(options=({"times": 2},))
FLOW = Conformance(options=({"bijector": {"type": "repeat", "times": 2, "of": "linear"}},))
GAUSSIAN_DECODER = Conformance(
    options=({"hidden": (8,)}, {"hidden": (), "scale": 0.3, "learn_scale": True})
)
_DIFFUSION: dict[str, Any] = {
    "denoiser": {"type": "pointcloud.pointwise", "hidden": (8, 8)},
    "schedule": {"type": "ddpm.linear", "steps": 20, "beta_start": 1e-3, "beta_end": 0.5},
}
DIFFUSION = Conformance(options=(_DIFFUSION,))
_LATENT: dict[str, Any] = {
    "encoder": {"type": "pointcloud.pointnet", "latent_dim": 3, "widths": (8, 8), "head": (8,)},
    "decoder": {"type": "gaussian", "hidden": (8,)},
}
LATENT = Conformance(
    options=(
        {**_LATENT, "prior": "normal"},
        {**_LATENT, "prior": {"type": "flow", "bijector": "linear"}},
        {
            "encoder": {**_LATENT["encoder"], "posterior": "point"},
            "decoder": {
                "type": "diffusion",
                "denoiser": _DIFFUSION["denoiser"],
                "schedule": _DIFFUSION["schedule"],
                "loss": "ddpm.mse",
            },
        },
    )
)
ANCESTRAL = Conformance(options=({}, {"flexibility": 0.5, "steps": 7}, {"flexibility": 1.0}))
DDIM = Conformance(options=({}, {"eta": 0.5, "steps": 7}, {"eta": 1.0}))
WEIGHTED_ELBO = Conformance(
    options=(
        {},
        {"kl": "monte_carlo"},
        {"kl_weight": 0.5},
        {"warmup_steps": 5},
        {"free_bits": 0.5},
    )
)
SHAPES3D = Conformance(options=({"points": 32, "size": 8, "held_out": 4},))
