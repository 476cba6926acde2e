"""How the conformance kit tests this package; only `corekit.testing` imports this module."""

from corekit.testing import Conformance

# Options of the spec to try, one case each: first the defaults.
HOW = Conformance(options=({}, {"steepness": 3.0}))
