"""What the conformance kit builds."""

from corekit.testing import Conformance

AFFINE_COUPLING = Conformance(
    options=(
        {"hidden": 6},
        {"hidden": 6, "swap": True},
        {"hidden": 6, "swap": True, "scale": "sigmoid2"},
    )
)
