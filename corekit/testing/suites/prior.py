"""The promises of a Prior: those of a density."""

from corekit.testing.check import Suite
from corekit.testing.suites.density import SUITE as DENSITY

SUITE = Suite(DENSITY)
