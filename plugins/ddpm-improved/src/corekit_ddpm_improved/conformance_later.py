"""What the conformance kit builds of what came after improved diffusion."""

from typing import Any

from corekit.testing import Conformance

PLAIN: dict[str, Any] = {"event_shape": (3,), "condition_shapes": {}, "out_channels": None}
WITH_VECTOR: dict[str, Any] = {
    "event_shape": (2,),
    "condition_shapes": {"vector": (3,)},
    "out_channels": None,
}
NET: dict[str, Any] = {"type": "ddpm.mlp", "hidden": 8, "depth": 1}

MLP = Conformance(
    options=(
        {"hidden": 8, "depth": 2},
        {"hidden": 10, "depth": 1, "variance": "range", "self_condition": True, "predicts": "v"},
    ),
    given=(PLAIN, WITH_VECTOR),
)
DIT = Conformance(
    options=(
        {"hidden": 8, "depth": 2, "heads": 2},
        {"hidden": 12, "depth": 1, "heads": 3, "patch": 1, "mlp_ratio": 0.5, "variance": "log"},
    ),
    given=(
        {"event_shape": (1, 4, 2), "condition_shapes": {}, "out_channels": None},
        {"event_shape": (2, 2, 4), "condition_shapes": {"vector": (3,)}, "out_channels": None},
    ),
)
EDM = Conformance(
    options=({"net": NET}, {"net": {**NET, "variance": "range"}, "sigma_data": 2.0}),
    given=(PLAIN, WITH_VECTOR),
)
RECTIFIED = Conformance(options=({}, {"shift": 3.0}))
EDM_SIGMAS = Conformance(options=({}, {"sigma_min": 0.01, "sigma_max": 20.0, "rho": 1.0}))
VDM_SCHEDULE = Conformance(options=({}, {"gamma_min": -10.0, "gamma_max": 6.0}))
VELOCITY = Conformance()
MIN_SNR = Conformance(options=({}, {"gamma": 1.0, "floor": 0.5}))
EDM_LOSS = Conformance(options=({}, {"sigma_data": 2.0}))
VDM = Conformance()
