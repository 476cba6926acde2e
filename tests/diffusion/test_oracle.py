"""The oracle is exact: against the joint Gaussian and a finely integrated ODE."""

from itertools import pairwise

import pytest
import torch

from corekit.diffusion.process import target_of
from corekit.diffusion.schedules import Rectified
from corekit.errors import ShapeError
from corekit.testing.oracle import GaussianOracle, OracleDenoiser, Trigonometric

MEAN = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
COVARIANCE = torch.tensor(
    [[2.0, 0.6, 0.1], [0.6, 0.5, -0.2], [0.1, -0.2, 1.0]], dtype=torch.float64
)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("schedule", [Trigonometric(), Rectified()])
def test_prediction_is_the_conditional_of_the_joint_gaussian(schedule):
    level = schedule.at(torch.tensor([0.3, 0.8], dtype=torch.float64))
    x_t = normal(2, 3)
    got = GaussianOracle(MEAN, COVARIANCE).predict(x_t, level)
    for row in range(2):
        alpha, sigma = level.alpha[row], level.sigma[row]
        spread = alpha**2 * COVARIANCE + sigma**2 * torch.eye(3)
        gain = torch.linalg.solve(spread, x_t[row] - alpha * MEAN)
        torch.testing.assert_close(got.x_0[row], MEAN + alpha * COVARIANCE @ gain)
        torch.testing.assert_close(got.eps[row], sigma * gain)
        torch.testing.assert_close(alpha * got.x_0[row] + sigma * got.eps[row], x_t[row])


@pytest.mark.parametrize("schedule", [Trigonometric(), Rectified()])
def test_flow_solves_the_probability_flow_ode(schedule):
    oracle = GaussianOracle(MEAN, COVARIANCE)
    x = x_t = normal(2, 3)
    times = torch.linspace(0.9, 0.1, 201, dtype=torch.float64)

    def velocity(x, time):
        level = schedule.at(time.reshape(1))
        prediction = oracle.predict(x, level)
        return target_of("velocity", prediction.x_0, prediction.eps, level)

    for start, end in pairwise(times):  # midpoint rule, second order
        half = x + (end - start) / 2 * velocity(x, start)
        x = x + (end - start) * velocity(half, (start + end) / 2)
    exact = oracle.flow(x_t, schedule.at(times[:1]), schedule.at(times[-1:]))
    torch.testing.assert_close(x, exact, atol=2e-4, rtol=0)


def test_flow_carries_one_marginal_to_the_other():
    oracle, schedule = GaussianOracle(MEAN, COVARIANCE), Rectified()
    t, s = (schedule.at(torch.tensor([v], dtype=torch.float64)) for v in (0.9, 0.2))
    mean, covariance = oracle.marginal(t)
    zero = oracle.flow(mean[None], t, s)
    matrix = (oracle.flow(mean + torch.eye(3), t, s) - zero).T
    torch.testing.assert_close(zero[0], oracle.marginal(s)[0])
    torch.testing.assert_close(matrix @ covariance @ matrix.T, oracle.marginal(s)[1])


def test_a_variance_per_coordinate_is_a_diagonal_covariance():
    level = Trigonometric().at(torch.tensor([0.4], dtype=torch.float64))
    mean, variances = normal(2, 3), normal(2, 3, seed=1).exp()
    x_t = normal(5, 2, 3, seed=2)
    event = GaussianOracle(mean, variances).predict(x_t, level)
    flat = GaussianOracle(mean.flatten(), variances.flatten().diag()).predict(x_t.flatten(1), level)
    torch.testing.assert_close(event.x_0, flat.x_0.reshape(x_t.shape))
    with pytest.raises(ShapeError, match=r"\(3,\) or \(3, 3\), got \(2,\)"):
        GaussianOracle(MEAN, torch.ones(2))


@pytest.mark.parametrize("predicts", ["eps", "x_0", "v", "velocity"])
def test_the_oracle_as_a_network_says_what_it_predicts(predicts):
    oracle = GaussianOracle(MEAN, COVARIANCE)
    level = Rectified().at(torch.tensor([0.4, 0.4], dtype=torch.float64))
    x_t = normal(2, 3)
    wanted = target_of(predicts, *oracle.predict(x_t, level)[:2], level)
    torch.testing.assert_close(OracleDenoiser(oracle, predicts)(x_t, level), wanted)
