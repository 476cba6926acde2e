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
MSE = Conformance(options=({}, {"target": "x_0"}, {"target": "v"}, {"target": "velocity"}))
