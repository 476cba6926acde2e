"""The promises of a Prior: those of a density, and a start from latents."""

import torch

from corekit.testing.case import Case
from corekit.testing.check import Suite
from corekit.testing.starting import expect_networks_to_start
from corekit.testing.suites.density import EXERCISE, condition_of
from corekit.testing.suites.density import SUITE as DENSITY

SUITE = Suite(DENSITY)


@SUITE.check()
def its_networks_start_from_data(case: Case) -> str:
    """``initialize`` hands data on to every network inside."""
    part, inputs = case.fresh().to(torch.float64), EXERCISE.inputs(case, torch.float64, 16)
    condition = condition_of(part, inputs)
    return expect_networks_to_start(part, lambda: part.initialize(inputs["x"], condition))
