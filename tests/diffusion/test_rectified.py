"""The time shift of rectified flow: where samplers step, not what the levels are."""

import pytest
import torch

from corekit.diffusion.schedules import Rectified
from corekit.errors import UsageError


def test_a_shift_moves_the_steps_of_samplers_towards_noise():
    plain, shifted = Rectified(), Rectified(shift=3.0)
    t = plain.times(8)
    torch.testing.assert_close(shifted.times(8), 3 * t / (1 + 2 * t))  # Esser et al., eq. 23
    ratio = shifted.at(shifted.times(8)[1:-1]).log_snr - plain.at(t[1:-1]).log_snr
    torch.testing.assert_close(ratio, torch.full_like(ratio, 3.0).log() * -2)
    time = torch.tensor([0.0, 0.3, 1.0])
    assert torch.equal(shifted.at(time).alpha, plain.at(time).alpha)


@pytest.mark.parametrize("shift", [0.0, -1.0, float("nan")])
def test_a_shift_must_be_positive(shift):
    with pytest.raises(UsageError, match=f"shift must be positive, got {shift}"):
        Rectified(shift)
