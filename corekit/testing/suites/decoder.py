"""The promises of a Decoder: those of a density given a latent, and its mean."""

from __future__ import annotations

import torch

from corekit.errors import NoDensity
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Condition
from corekit.testing.case import Case
from corekit.testing.check import Suite, expect
from corekit.testing.statistics import expect_mean
from corekit.testing.suites.density import EXERCISE, condition_of
from corekit.testing.suites.density import SUITE as DENSITY

SUITE = Suite(DENSITY)
MANY = 10_000


def has_mean(case: Case) -> bool:
    """Whether E[x | z] is known without sampling."""
    part, inputs = case.ready(), EXERCISE.inputs(case, torch.float64)
    try:
        part.mean(condition_of(part, inputs))
    except NoDensity:
        return False
    return True


@SUITE.check()
def it_asks_for_the_latent(case: Case) -> None:
    """Its condition is a vector of the latent shape that it was built with."""
    want = {"vector": tuple(case.given["latent_shape"])}
    got = dict(case.part.condition_shapes)
    expect(got == want, f"condition_shapes must be {want}, got {got}.")


@SUITE.check(has_mean)
def the_mean_is_that_of_the_samples(case: Case) -> str:
    """``mean`` is the average of many samples of the same latent."""
    part = case.ready()
    z = torch.randn(1, *case.given["latent_shape"], dtype=torch.float64)
    with torch.no_grad():
        mean = part.mean(Condition(vector=z)).flatten()
    many = Condition(vector=z.expand(MANY, *z.shape[1:]))
    x = part.sample(MANY, many, generator=Draws(torch.Generator().manual_seed(0))).flatten(1)
    detail = ""
    for i in range(min(len(mean), 16)):
        detail = expect_mean(f"the mean sample in coordinate {i}", x[:, i], mean[i].item())
    return detail
