"""Every component of core keeps every promise of its kind."""

import pytest

from corekit.registry import Registry
from corekit.testing import parametrize_checks
from corekit.testing.component import SUITES

OWN = [(c.kind, c.name) for c in Registry().components()]


def checks_of_core():
    marks = [parametrize_checks(kind, name) for kind, name in OWN]
    for (kind, name), mark in zip(OWN, marks, strict=True):
        for param in mark.args[1]:
            yield pytest.param(*param.values, id=f"{kind} {name}-{param.id}", marks=param.marks)


@pytest.mark.filterwarnings("ignore:.*alphas_cumprod must end near 0")
@pytest.mark.parametrize("check", list(checks_of_core()))
def test_core(check):
    check()


def test_every_kind_with_an_interface_has_a_suite():
    without = {"importer", "optimizer", "lr_schedule", "callback"}  # their specs are checked
    assert {kind for kind, _ in OWN} - without <= set(SUITES)
