"""What the conformance kit builds."""

from corekit.testing import Conformance

LINEAR = Conformance(
    options=(
        {},
        {"steps": 30},
        {"steps": 8, "beta_start": 0.01, "beta_end": 0.8},
        {"zero_terminal_snr": True},
    )
)
COSINE = Conformance(
    options=(
        {},
        {"steps": 9},
        {"steps": 60, "s": 0.05, "max_beta": 0.5},
        {"steps": 60, "zero_terminal_snr": True},
    )
)
MSE = Conformance(
    options=({}, {"target": "x_0"}, {"target": "v"}, {"target": "velocity"}, {"target": "x_prev"})
)
HYBRID = Conformance(options=({}, {"target": "v", "rescale": False}))
RESCALED_MSE = Conformance(options=({"target": "x_prev"},))
KL = Conformance(options=({}, {"rescale": True, "variance": "large"}))
RESCALED_KL = Conformance(options=({},))
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
