"""What the spec of a sampler refuses before anything is built."""

import pytest
from pydantic import ValidationError

from corekit.spec import spec_class


@pytest.mark.parametrize("name", ["dpm_solver", "unipc", "heun", "euler"])
def test_the_ends_of_a_grid_must_rise(name):
    spec = spec_class("sampler", name)
    assert spec.model_validate({"sigma_max": 80.0}).sigma_max == 80.0
    with pytest.raises(ValidationError, match="sigma_min must be below sigma_max"):
        spec.model_validate({"sigma_min": 10.0})
    with pytest.raises(ValidationError):
        spec.model_validate({"grid": "exponential"})


def test_orders_that_no_solver_has_are_refused():
    with pytest.raises(ValidationError):
        spec_class("sampler", "dpm_solver").model_validate({"order": 3})
