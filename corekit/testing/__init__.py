"""The conformance kit: what proves a part right. Beside the floors.

`check_component` runs every check of a kind on one component, `parametrize_checks` makes tests of
them, and `GaussianOracle` knows what a perfect diffusion would do.
"""

from corekit.testing.check import CheckResult
from corekit.testing.component import check_component, parametrize_checks
from corekit.testing.conformance import Conformance
from corekit.testing.oracle import GaussianOracle, OracleDenoiser

__all__ = [
    "CheckResult",
    "Conformance",
    "GaussianOracle",
    "OracleDenoiser",
    "check_component",
    "parametrize_checks",
]
