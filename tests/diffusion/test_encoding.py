"""DDIM run backwards: to the noise of given data, and back to them."""

import pytest
import torch

from corekit.diffusion.encoding import encode
from corekit.diffusion.grids import OnGrid
from corekit.diffusion.samplers import Ddim
from corekit.diffusion.schedules import Rectified, cosine_betas
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.testing.oracle import GaussianOracle, Trigonometric

ORACLE = GaussianOracle(torch.tensor([0.3, -1.0]).double(), torch.tensor([0.25, 2.0]).double())
SCHEDULES = {
    "cosine": DiscreteSchedule(cosine_betas(4096)),
    "trigonometric": Trigonometric(),
    "rectified": Rectified(),
}


def normal(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def end(schedule, time):
    return schedule.at(torch.tensor([time], dtype=torch.float64))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("grid", ["even", "arctan"])
def test_encoding_follows_the_flow_to_the_noise_and_decoding_comes_back(name, grid):
    schedule, x_0 = SCHEDULES[name], 0.3 + normal(5, 2)
    exact = ORACLE.flow(x_0, end(schedule, 0.0), end(schedule, 1.0))
    off, away = [], []
    for steps in (64, 256):
        times = OnGrid(grid=grid).times(schedule, steps)
        x_T = encode(ORACLE.predict, schedule, x_0, times=times)
        back = Ddim()(ORACLE.predict, schedule, x_T, times=times)
        off.append((x_T - exact).abs().max().item())
        away.append((back - x_0).abs().max().item())
    assert off[1] < 0.04
    assert away[1] < 0.03
    assert off[0] / off[1] > 3
    assert away[0] / away[1] > 3


def test_what_it_draws_calls_and_leaves_alone():
    schedule, x_0 = SCHEDULES["cosine"], normal(3, 2, dtype=torch.float32)
    before, calls, seen = x_0.clone(), [], []

    def predict(x, level):
        calls.append(level.time[0].item())
        return ORACLE.predict(x, level.map(lambda c: c.double()))._replace(log_variance=None)

    times = schedule.times(8)
    x_T = encode(
        predict, schedule, x_0, times=times, callback=lambda done, x, p: seen.append((done, x))
    )
    assert calls == times[1:-1].flip(0).tolist()
    assert [done for done, _ in seen] == list(range(1, 8))
    assert seen[-1][1] is x_T
    assert torch.equal(x_0, before)
    one = encode(ORACLE.predict, schedule, x_0, times=torch.tensor([1.0, 0.0]))
    assert torch.equal(one, x_0)  # no level between: nothing to ask


def test_times_are_those_of_a_sampler():
    with pytest.raises(UsageError, match="times must decrease from at most 1 to 0"):
        encode(ORACLE.predict, Rectified(), normal(1, 2), times=torch.tensor([0.0, 0.5, 1.0]))


def test_no_graph_is_kept():
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)

    def predict(x, level):
        prediction = ORACLE.predict(x, level)
        return prediction._replace(x_0=weight * prediction.x_0)

    times = Rectified().times(4)
    assert not encode(predict, Rectified(), normal(1, 2), times=times).requires_grad
