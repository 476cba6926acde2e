"""What the conformance kit builds."""

from corekit.testing import Conformance

LINEAR = Conformance(
    options=(
        {},
        {"steps": 30},
        {"steps": 8, "beta_start": 0.01, "beta_end": 0.8},
        {"zero_terminal_snr": True},
        {"respacing": "ddim25"},
    )
)
COSINE = Conformance(
    options=(
        {},
        {"steps": 9},
        {"steps": 60, "s": 0.05, "max_beta": 0.5},
        {"steps": 60, "zero_terminal_snr": True},
        {"steps": 60, "respacing": "9,4,2"},
    )
)
MSE = Conformance(
    options=({}, {"target": "x_0"}, {"target": "v"}, {"target": "velocity"}, {"target": "x_prev"})
)
HYBRID = Conformance(options=({}, {"target": "v", "rescale": False}))
RESCALED_MSE = Conformance(options=({"target": "x_prev"},))
KL = Conformance(options=({}, {"rescale": True, "variance": "large"}))
RESCALED_KL = Conformance(options=({},))
LOSS_SECOND_MOMENT = Conformance(
    options=({"steps": 40}, {"steps": 40, "history": 3, "uniform_share": 0.2})
)
LOG_NORMAL = Conformance(options=({}, {"mean": 0.0, "std": 1.0}))
UNET = Conformance(
    options=(
        {"channels": 2, "multipliers": (1, 2), "blocks": 1, "attention": (2,), "heads": 2},
        {
            "channels": 2,
            "multipliers": (2, 1),
            "blocks": 1,
            "attention": (),
            "head_channels": 1,
            "scale_shift": False,
            "resample": "blocks",
            "predicts": "v",
        },
    ),
    given=(
        {"event_shape": (1, 5, 6), "condition_shapes": {}, "out_channels": None},
        {"event_shape": (2, 5), "condition_shapes": {"vector": (3,)}, "out_channels": None},
    ),
)
PROBABILITY_FLOW = Conformance(
    options=(
        {
            "denoiser": {"type": "ddpm.mlp", "hidden": 8, "depth": 1, "predicts": "v"},
            "schedule": {"type": "ddpm.cosine", "steps": 20},
            "steps": 6,
        },
        {
            "denoiser": {"type": "ddpm.mlp", "hidden": 8, "depth": 1, "predicts": "velocity"},
            "schedule": "ddpm.rectified",
            "steps": 6,
            "trace": "hutchinson",
        },
    ),
    given=({"event_shape": (2,), "context_shape": (3,)},),
    tolerance=1e-2,
    tolerance_float32=1e-2,
)
