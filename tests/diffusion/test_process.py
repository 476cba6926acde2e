"""The Gaussian process: conversions, transitions and scores, against independent formulas."""

import pytest
import torch

from corekit.diffusion.predicting import thresholded
from corekit.diffusion.process import (
    check_predicts,
    q_mean_variance,
    q_posterior_mean_variance,
    q_sample,
    score,
    target_of,
    to_prediction,
    transition,
)
from corekit.diffusion.schedules import (
    Rectified,
    cosine_betas,
    end_of,
    linear_betas,
    rescale_zero_terminal_snr,
)
from corekit.errors import UsageError
from corekit.interfaces.noise_schedule import DiscreteSchedule
from corekit.interfaces.records import NoiseLevel, Prediction
from corekit.testing.oracle import GaussianOracle, Trigonometric

PREDICTS = ("eps", "x_0", "v", "velocity")
SCHEDULES = {
    "linear": DiscreteSchedule(linear_betas(100)),
    "cosine": DiscreteSchedule(cosine_betas(50)),
    "zero_snr": DiscreteSchedule(rescale_zero_terminal_snr(linear_betas(100))),
    "trigonometric": Trigonometric(),
    "rectified": Rectified(),
}


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def level_at(name, *times, dtype=torch.float64):
    return SCHEDULES[name].at(torch.tensor(times, dtype=dtype))


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("predicts", PREDICTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 2e-4)])
@pytest.mark.parametrize("event", [(), (3,), (2, 5), (1, 4, 3)])
def test_target_and_prediction_undo_each_other(name, predicts, dtype, tolerance, event):
    level = level_at(name, 0.1, 0.5, 0.98, dtype=dtype)
    x_0, eps = normal(3, *event, dtype=dtype), normal(3, *event, seed=1, dtype=dtype)
    x_t = q_sample(x_0, eps, level)
    output = target_of(predicts, x_0, eps, level)
    prediction = to_prediction(output, predicts, x_t, level)
    assert prediction.x_0.dtype == prediction.eps.dtype == dtype
    torch.testing.assert_close(prediction.x_0, x_0, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(prediction.eps, eps, atol=tolerance, rtol=tolerance)
    again = target_of(predicts, *prediction[:2], level)
    torch.testing.assert_close(again, output, atol=tolerance, rtol=tolerance)


def test_targets_are_what_their_names_say():
    level = level_at("trigonometric", 0.3)
    x_0, eps = normal(1, 4), normal(1, 4, seed=1)
    alpha, sigma = level.alpha.item(), level.sigma.item()
    assert target_of("eps", x_0, eps, level) is eps
    assert target_of("x_0", x_0, eps, level) is x_0
    torch.testing.assert_close(target_of("v", x_0, eps, level), alpha * eps - sigma * x_0)


@pytest.mark.parametrize("name", ["trigonometric", "rectified"])
def test_velocity_is_the_time_derivative_of_x_t(name):
    x_0, eps = normal(1, 4), normal(1, 4, seed=1)
    time = torch.tensor([0.37], dtype=torch.float64)
    _, slope = torch.autograd.functional.jvp(
        lambda t: q_sample(x_0, eps, SCHEDULES[name].at(t)), time, torch.ones_like(time)
    )
    velocity = target_of("velocity", x_0, eps, SCHEDULES[name].at(time))
    torch.testing.assert_close(velocity, slope)


@pytest.mark.parametrize("predicts", PREDICTS)
def test_an_output_in_half_precision_is_widened(predicts):
    level = level_at("linear", 0.5, dtype=torch.float32)
    x_t, output = normal(1, 3, dtype=torch.float32), normal(1, 3, dtype=torch.bfloat16)
    prediction = to_prediction(output, predicts, x_t, level)
    assert prediction.x_0.dtype == prediction.eps.dtype == torch.float32


def test_only_eps_is_refused_without_signal():
    level = level_at("zero_snr", 1.0, 0.5)
    assert level.alpha[0] == 0
    x_0, eps = normal(2, 3), normal(2, 3, seed=1)
    x_t = q_sample(x_0, eps, level)
    for predicts in ("x_0", "v", "velocity"):
        prediction = to_prediction(target_of(predicts, x_0, eps, level), predicts, x_t, level)
        torch.testing.assert_close(prediction.x_0, x_0)
        torch.testing.assert_close(prediction.eps, eps)
        check_predicts("Test", predicts, end_of(SCHEDULES["zero_snr"]))
    with pytest.raises(UsageError, match="eps must not be predicted where alpha = 0"):
        to_prediction(eps, "eps", x_t, level)
    for name in ("zero_snr", "rectified", "trigonometric"):  # the last: alpha = 6e-17
        with pytest.raises(UsageError, match="Test: eps must not be predicted"):
            check_predicts("Test", "eps", end_of(SCHEDULES[name]))
    check_predicts("Test", "eps", end_of(SCHEDULES["cosine"]))


@pytest.mark.parametrize("name", SCHEDULES)
def test_draws_of_the_forward_process_have_its_mean_and_variance(name):
    x_0, level = normal(1, 3), level_at(name, 0.5)
    mean, variance = q_mean_variance(x_0, level)
    eps = normal(100_000, 3, seed=2)
    drawn = q_sample(x_0.expand_as(eps), eps, level.map(lambda column: column.expand(len(eps))))
    torch.testing.assert_close(drawn.mean(0, keepdim=True), mean, atol=0.02, rtol=0)
    torch.testing.assert_close(drawn.var(0, keepdim=True), variance.expand(1, 3), atol=0, rtol=0.03)


def test_an_unknown_target_is_named():
    level = level_at("linear", 0.5)
    with pytest.raises(UsageError, match=r"one of eps, x_0, v, velocity, x_prev, got 'noise'"):
        to_prediction(normal(1, 2), "noise", normal(1, 2), level)


def test_a_velocity_needs_derivatives():
    level = level_at("linear", 0.5)._replace(dalpha=None)
    with pytest.raises(UsageError, match="derivatives of alpha and sigma"):
        target_of("velocity", normal(1, 2), normal(1, 2), level)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("noisy", "clean"), [(1.0, 0.98), (0.9, 0.1), (0.5, 0.48), (0.3, 0.02)])
def test_posterior_is_bayes_formula(name, noisy, clean):
    """q(x_s | x_t, x_0) is the product of two Gaussians in x_s: precisions add."""
    t, s = level_at(name, noisy), level_at(name, clean)
    x_0, x_t = normal(1, 4), normal(1, 4, seed=1)
    step = t.alpha / s.alpha  # x_t = step x_s + N(0, added)
    if isinstance(SCHEDULES[name], DiscreteSchedule):  # added by the betas in between, one by one
        total = SCHEDULES[name].steps
        added = torch.zeros(1, dtype=torch.float64)
        for beta in SCHEDULES[name].betas[round(clean * total) : round(noisy * total)]:
            added = (1 - beta) * added + beta
    else:
        added = t.sigma**2 - step**2 * s.sigma**2
    precision = 1 / s.sigma**2 + step**2 / added
    mean = (s.alpha * x_0 / s.sigma**2 + step * x_t / added) / precision
    got_mean, got_variance = q_posterior_mean_variance(x_0, x_t, t, s)
    torch.testing.assert_close(got_mean, mean, atol=1e-10, rtol=1e-9)
    torch.testing.assert_close(got_variance, (1 / precision)[:, None], atol=0, rtol=1e-9)
    torch.testing.assert_close(transition(t, s).forward_variance, added, atol=1e-13, rtol=1e-9)


@pytest.mark.parametrize("name", SCHEDULES)
def test_posterior_next_to_clean_data_is_the_data(name):
    mean, variance = q_posterior_mean_variance(
        normal(1, 3), normal(1, 3, seed=1), level_at(name, 0.02), level_at(name, 0.0)
    )
    torch.testing.assert_close(mean, normal(1, 3))
    assert variance == 0


@pytest.mark.parametrize("name", ["linear", "cosine", "zero_snr"])
def test_neighbours_of_a_discrete_schedule_give_its_tables(name):
    schedule = SCHEDULES[name]
    grid = schedule.at(torch.arange(schedule.steps + 1, dtype=torch.float64) / schedule.steps)
    step = transition(grid.map(lambda c: c[1:]), grid.map(lambda c: c[:-1]))
    betas, variance = torch.tensor(schedule.betas), torch.tensor(schedule.posterior_variance)
    torch.testing.assert_close(step.forward_variance, betas, atol=1e-15, rtol=1e-11)
    torch.testing.assert_close(step.variance, variance, atol=1e-15, rtol=1e-11)


@pytest.mark.parametrize("name", ["linear", "rectified"])
def test_score_is_the_gradient_of_the_log_density(name):
    oracle = GaussianOracle(normal(3), torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64))
    level = level_at(name, 0.6)
    x_t = normal(1, 3, seed=2).requires_grad_()
    mean, covariance = oracle.marginal(level)
    log_p = torch.distributions.MultivariateNormal(mean, covariance).log_prob(x_t).sum()
    (gradient,) = torch.autograd.grad(log_p, x_t)
    torch.testing.assert_close(score(oracle.predict(x_t, level), level), gradient)


def test_thresholded_clips_x_0_and_eps_follows():
    level = level_at("linear", 0.5, 0.5)
    x_t = normal(2, 5)
    raw = Prediction(3 * normal(2, 5, seed=1), normal(2, 5, seed=2), normal(2, 5, seed=3))
    clipped = thresholded(lambda x, at: raw, -0.5, 1.0)(x_t, level)
    assert clipped.x_0.min() == -0.5
    assert clipped.x_0.max() == 1.0
    torch.testing.assert_close(q_sample(clipped.x_0, clipped.eps, level), x_t)
    assert clipped.log_variance is raw.log_variance


def test_a_learned_variance_is_a_logarithm_or_lies_between_two():
    level = SCHEDULES["cosine"].at(torch.tensor([1, 8], dtype=torch.float64) / 50)
    x_t, mean, said = normal(2, 3, 4), normal(2, 3, 4, seed=1), normal(2, 3, 4, seed=2)
    both = torch.cat((mean, said), dim=2)
    plain = to_prediction(mean, "v", x_t, level)
    log = to_prediction(both, "v", x_t, level, "log", 1)
    assert torch.equal(log.x_0, plain.x_0)
    assert torch.equal(log.log_variance, said)
    ranged = to_prediction(both, "v", x_t, level, "range", 1).log_variance
    large, small = level.reverse.log_large[:, None, None], level.reverse.log_small[:, None, None]
    torch.testing.assert_close(ranged, small + (said + 1) / 2 * (large - small))
    with pytest.raises(UsageError, match="need a step back"):
        to_prediction(both, "v", x_t, level._replace(reverse=None), "range", 1)


def test_gradients_reach_the_output_and_the_data():
    level = level_at("trigonometric", 0.4)
    x_0 = normal(1, 3).requires_grad_()
    output = normal(1, 3, seed=1).requires_grad_()
    prediction = to_prediction(output, "v", q_sample(x_0, normal(1, 3, seed=2), level), level)
    prediction.x_0.sum().backward()
    assert x_0.grad.abs().min() > 0
    assert output.grad.abs().min() > 0


def test_nothing_is_written_in_place():
    level = level_at("cosine", 0.5)
    tensors = [normal(1, 3, seed=i) for i in range(3)]
    before = [v.clone() for v in (*tensors, *(v for v in level if isinstance(v, torch.Tensor)))]
    x_t = q_sample(tensors[0], tensors[1], level)
    for predicts in PREDICTS:
        to_prediction(tensors[2], predicts, x_t, level)
    q_posterior_mean_variance(tensors[0], tensors[1], level, level_at("cosine", 0.2))
    after = (*tensors, *(v for v in level if isinstance(v, torch.Tensor)))
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_level_fields_may_be_missing():
    level = NoiseLevel(*(torch.tensor([v]) for v in (0.5, 0.8, 0.6)))
    prediction = to_prediction(torch.ones(1, 2), "v", torch.ones(1, 2), level)
    torch.testing.assert_close(prediction.x_0, torch.full((1, 2), 0.2))
