"""How core's own components are tested, where the defaults do not do."""

from typing import Any

from corekit.data_spec import DataSpec
from corekit.testing.conformance import Conformance
from corekit.testing.data_files import ARRAYS as ARRAYS
from corekit.testing.data_files import CSV as CSV
from corekit.testing.data_files import IDX as IDX
from corekit.testing.data_files import IMAGE_FOLDER as IMAGE_FOLDER

LINEAR = Conformance(options=({}, {"bias": False}))
REPEAT = Conformance(options=({"times": 2},))
AFFINE = Conformance(
    options=(
        {},
        {"scale": "sigmoid2"},
        {"scale": "sigmoid2", "floor": 0.01},
        {"scale": "softplus"},
        {"scale": "softclip", "max_log_scale": 6.9},
        {"max_log_scale": None},
    )
)
NETWORK = Conformance(
    options=(
        {"hidden": (8,)},
        {"hidden": (8, 6), "activation": "tanh"},
        {"hidden": (6,), "spectral_norm": True, "zero_last": False},
    )
)
CONVNET = Conformance(options=({"hidden": 6},))
_SMALL = {"type": "mlp", "hidden": (8,)}
COUPLING = Conformance(
    options=(
        {"net": _SMALL},
        {"net": _SMALL, "swap": True, "univariate": "additive", "split": "interleaved"},
        {"net": _SMALL, "swap": True, "split": (3, 0, 1)},
        *(
            {"net": {"type": "convnet", "hidden": 4}, "split": split, "swap": swap}
            for split, swap in (
                ("halves", True),
                ("checkerboard", False),
                ("checkerboard", True),
                ("rows", False),
                ("columns", True),
            )
        ),
    )
)
INVERSE = Conformance(options=({}, {"of": {"type": "chain", "of": ["squeeze", "actnorm"]}}))
ACTNORM = Conformance(options=({}, {"unbiased": True}, {"scale": 0.5, "eps": 0.1}))
_IMAGES = ({"event_shape": (3, 4, 6)}, {"event_shape": (2, 6, 6)})
SQUEEZE = Conformance(
    options=({}, {"order": "offsets"}, {"order": "corners"}), given=[_IMAGES[0], _IMAGES[1]]
)
PERMUTE = Conformance(options=({}, {"order": "random", "seed": 3}, {"order": "roll", "shift": 2}))
LU_LINEAR = Conformance(options=({}, {"bias": False, "start": "identity"}))
HOUSEHOLDER = Conformance(options=({}, {"reflections": 2}))
LOGIT = Conformance(options=({}, {"sides": "lower"}, {"alpha": 0}))
LEAKY_RELU = Conformance(options=({}, {"slope": 0.3}))
TANH = Conformance(tolerance_float32=5e-3)  # digits of x are lost where z is nearly 1
_CONV = {"type": "convnet", "hidden": 4}
SPLIT = Conformance(
    options=(
        {"net": _SMALL},
        {"net": _SMALL, "of": {"type": "split", "net": _SMALL}, "max_log_scale": None},
    ),
)
_STEP: list[Any] = ["squeeze", "actnorm", "householder", {"type": "coupling", "net": _CONV}]
MULTISCALE = Conformance(
    options=(
        {"levels": 1, "of": _STEP, "top": "actnorm"},
        {"levels": 2, "of": _STEP, "net": _CONV},
    ),
    given=[{"event_shape": (2, 4, 4), "context_shape": c} for c in (None, (3,))],
)
FLOW = Conformance(options=({"bijector": {"type": "repeat", "times": 2, "of": "linear"}},))
VARIATIONAL_FLOW = Conformance(  # a path gradient is right on average: it is no derivative
    options=(
        {"bijector": {"type": "repeat", "times": 2, "of": "linear"}, "gradient": "total"},
        {"bijector": "linear", "gradient": "total", "alpha": 0.3, "particles": 3},
    ),
    given=({"data": DataSpec((2,))},),
)
GAUSSIAN_BASE = Conformance(options=({"net": _SMALL}, {"mean": 0.5, "scale": 2.0, "learn": False}))
MIXTURE_BASE = Conformance(
    options=(
        {"components": 3, "net": _SMALL},
        {"components": 2, "family": "logistic", "net": _SMALL},
    ),
    given=(
        {"event_shape": (2, 3), "condition": None},
        {"event_shape": (3,), "condition": {"vector": (4,)}},
    ),
)
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
DPM_SOLVER = Conformance(
    options=({}, {"multistep": False, "steps": 7}, {"order": 1, "grid": "karras"})
)
UNIPC = Conformance(options=({}, {"b": "bh1", "steps": 7}, {"grid": "log_snr"}))
KARRAS = Conformance(options=({}, {"grid": "even", "steps": 7}, {"rho": 3.0, "sigma_max": 80.0}))
WEIGHTED_ELBO = Conformance(
    options=(
        {},
        {"kl": "monte_carlo"},
        {"kl_weight": 0.5},
        {"warmup_steps": 5},
        {"free_bits": 0.5},
    )
)
SHAPES2D = Conformance(options=({"size": 8, "held_out": 4, "side": 8}, {"size": 8, "labels": True}))
BINARIZED = Conformance(
    options=(
        {"of": {"type": "shapes32", "side": 8, "size": 8}},
        {"of": {"type": "shapes32", "side": 8, "size": 8}, "how": "threshold"},
    )
)
DIGITS = Conformance(options=({"labels": True}, {"validate_on": True}))
LOW_RES = Conformance(
    options=(
        {"of": {"type": "shapes2d", "side": 8, "size": 8, "held_out": 4}},
        {"of": {"type": "shapes32", "side": 9, "size": 8, "labels": True}, "factor": 3},
    )
)
SHAPES32 = Conformance(
    options=(
        {"size": 8, "held_out": 4, "side": 8},
        {"size": 8, "labels": True, "factors": True, "value_range": (0.0, 1.0)},
    )
)
SHAPES3D = Conformance(options=({"points": 32, "size": 8, "held_out": 4},))
