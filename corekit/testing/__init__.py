"""The conformance kit: what proves a part right. Beside the floors.

`check_component` runs every check of a kind on one component, `parametrize_checks` makes tests of
them. For tests of one's own, `GaussianOracle` knows what a perfect diffusion would do,
`LinearGaussian` is a latent model whose likelihood is known, and `expect_kind` tells whether
numbers are the kind of likelihood that they claim to be.
"""

from corekit.testing.check import CheckResult
from corekit.testing.component import check_component, parametrize_checks
from corekit.testing.conformance import Conformance
from corekit.testing.likelihood import expect_kind
from corekit.testing.linear_gaussian import LinearGaussian
from corekit.testing.oracle import GaussianOracle, OracleDenoiser

__all__ = [
    "CheckResult",
    "Conformance",
    "GaussianOracle",
    "LinearGaussian",
    "OracleDenoiser",
    "check_component",
    "expect_kind",
    "parametrize_checks",
]
