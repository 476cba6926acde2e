"""Flows fitted without data: their gradients, and what they say about log Z."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal

from corekit.data.targets2d import Targets2d
from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.annealed import anneal, evidence, hamiltonian_move, importance_sample
from corekit.flows.bases import Gaussian
from corekit.flows.linear import Linear
from corekit.flows.prior import StandardNormal
from corekit.flows.targets import TARGETS
from corekit.flows.variational import VariationalFlow, without_parameters
from corekit.interfaces.draws import Draws
from corekit.interfaces.records import Batch
from corekit.testing import parametrize_checks


@parametrize_checks("model", "variational_flow")
def test_promises(check):
    check()


@parametrize_checks("dataset", "targets2d")
def test_promises_of_the_data(check):
    check()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


MEAN = torch.tensor([0.5, -1.0], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.8]], dtype=torch.float64)
TRUTH = MultivariateNormal(MEAN, COVARIANCE)


def gaussian(x):
    """The Gaussian above, times e^1.7."""
    return TRUTH.log_prob(x) + 1.7


def linear_flow(*, perfect, **options):
    """A linear flow whose density is the Gaussian above, or one nearby."""
    model = VariationalFlow(DataSpec((2,)), bijector=Linear, target=gaussian, **options).double()
    layer = model.density.bijector
    weight = torch.linalg.inv(torch.linalg.cholesky(COVARIANCE))
    with torch.no_grad():
        layer.weight.copy_(weight if perfect else weight * 1.2 + 0.05)
        layer.bias.copy_(-layer.weight @ MEAN + (0.0 if perfect else 0.2))
    return model


BATCH = Batch(torch.zeros(64, 2, dtype=torch.float64))


@pytest.mark.parametrize("name", TARGETS)
def test_the_constant_of_a_target_is_what_it_says_and_draws_follow_it(name):
    target = TARGETS[name]
    axis = torch.linspace(-16, 16, 1601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    log_z = torch.logsumexp(target.log_density(grid), 0) + 2 * math.log(32 / 1600)
    assert abs(log_z - target.log_z) < 2e-3
    log_p = target.log_density(grid) - target.log_z
    negative_entropy = (log_p.exp() * log_p).sum() * (32 / 1600) ** 2
    data = Targets2d(name, size=20_000)
    x = data.split("train").points()
    # E[u / p] = 1 for any normalised u: constants and shape at once.
    wide = MultivariateNormal(x.mean(0), 0.5 * x.T.cov())
    ratio = (wide.log_prob(x) - data.log_prob(x).value).exp()
    assert abs(ratio.mean() - 1) < 5 * ratio.std() / math.sqrt(len(ratio))
    mean = (log_p.exp()[:, None] * grid).sum(0) * (32 / 1600) ** 2
    assert ((x.mean(0) - mean).abs() < 5 * x.std(0) / math.sqrt(len(x)) + 2e-3).all()
    told = data.log_prob(x).value
    assert abs(told.mean() - negative_entropy) < 5 * told.std() / math.sqrt(len(told)) + 2e-3


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_free_energy_of_a_perfect_flow_is_minus_log_z_in_every_row(alpha):
    model = linear_flow(perfect=True, alpha=alpha, particles=3)
    terms = model(BATCH, draws=generator())
    want = torch.full((64,), -1.7, dtype=torch.float64)
    torch.testing.assert_close(terms.total, want, rtol=1e-10, atol=1e-10)
    assert terms.units == {"free_energy": "nats"}


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_path_gradients_vanish_where_the_flow_is_perfect_and_total_ones_do_not(alpha):
    sizes = {}
    for gradient in ("path", "total"):
        model = linear_flow(perfect=True, alpha=alpha, particles=4, gradient=gradient)
        model(BATCH, draws=generator()).total.mean().backward()
        sizes[gradient] = max(p.grad.abs().max().item() for p in model.parameters())
    assert sizes["path"] < 1e-12
    assert sizes["total"] > 1e-3


@pytest.mark.parametrize(("alpha", "particles"), [(1.0, 1), (0.5, 3), (0.0, 3)])
def test_path_and_total_gradients_have_the_same_mean(alpha, particles):
    means, errors = [], []
    for gradient in ("path", "total"):
        model = linear_flow(perfect=False, alpha=alpha, particles=particles, gradient=gradient)
        rows = []
        for seed in range(300):
            loss = model(BATCH, draws=generator(seed)).total.mean()
            grads = torch.autograd.grad(loss, list(model.parameters()))
            rows.append(torch.cat([g.flatten() for g in grads]))
        stacked = torch.stack(rows)
        means.append(stacked.mean(0))
        errors.append(stacked.std(0) / math.sqrt(300))
    assert (errors[0] < errors[1]).all()
    assert means[0].abs().max() > 0.1
    assert ((means[0] - means[1]).abs() < 4 * (errors[0] + errors[1])).all()


def test_reverse_kl_is_that_of_two_gaussians():
    model = linear_flow(perfect=False)
    layer = model.density.bijector
    inverse = torch.linalg.inv(layer.weight.detach())
    q = MultivariateNormal(-inverse @ layer.bias.detach(), inverse @ inverse.T)
    many = Batch(torch.zeros(40_000, 2, dtype=torch.float64))
    values = model(many, draws=generator()).total.detach()
    want = torch.distributions.kl_divergence(q, TRUTH) - 1.7
    assert (values.mean() - want).abs() < 4 * values.std() / math.sqrt(len(values))


def test_more_draws_and_a_smaller_alpha_bound_log_z_closer():
    many = Batch(torch.zeros(20_000, 2, dtype=torch.float64))
    gaps = [
        linear_flow(perfect=False, alpha=alpha, particles=k)(many, draws=generator()).total.mean()
        + 1.7
        for alpha, k in ((1.0, 1), (0.5, 5), (0.0, 5), (0.0, 50))
    ]
    assert gaps[0] > gaps[1] > gaps[2] > gaps[3] > -1e-3


def test_evidence_by_hand():
    found = evidence(torch.tensor([1.0, 2.0, 3.0]).log())
    assert abs(found.log_z - math.log(2)) < 1e-6
    assert abs(found.error - 0.5 / math.sqrt(3)) < 1e-6
    assert abs(found.ess - 36 / 14) < 1e-5
    assert found.draws == 3
    assert evidence(torch.full((10,), 5.0)).ess == pytest.approx(10)


def test_importance_sampling_finds_log_z():
    flow = linear_flow(perfect=False).density
    found = importance_sample(flow, gaussian, 20_000, generator=generator()).evidence()
    assert abs(found.log_z - 1.7) < 3 * found.error < 0.05
    assert 5_000 < found.ess < 20_000


@pytest.mark.parametrize("leapfrog", [1, 8])
def test_moves_leave_the_density_as_it_is(leapfrog):
    torch.manual_seed(0)
    x, draws = TRUTH.sample((40_000,)), Draws(generator(1))
    for _ in range(3):
        x, accepted = hamiltonian_move(x, gaussian, 0.5, leapfrog, draws)
    assert 0.5 < accepted.double().mean() < 0.999
    assert (x.mean(0) - MEAN).abs().max() < 4 / math.sqrt(40_000)
    assert (x.T.cov() - COVARIANCE).abs().max() < 0.03


def test_small_steps_are_accepted_and_move_along_the_slope():
    x = TRUTH.sample((1000,))
    moved, accepted = hamiltonian_move(x, gaussian, 1e-3, 10, Draws(generator()))
    assert accepted.all()
    assert not torch.equal(moved, x)


def test_a_point_of_no_density_is_not_moved_to():
    def wall(x):
        return torch.where(x[:, 0] > 0, -0.5 * x.square().sum(1), -math.inf)

    x = torch.rand(1000, 2, dtype=torch.float64)
    for seed in range(5):
        x, _ = hamiltonian_move(x, wall, 0.8, 3, Draws(generator(seed)))
    assert (x[:, 0] > 0).all()
    assert x.isfinite().all()


@pytest.mark.parametrize(("leapfrog", "step_size"), [(1, 0.7), (5, 0.4)])
def test_annealing_finds_log_z_where_importance_sampling_is_poor(leapfrog, step_size):
    """From a standard normal, 3 standard deviations away from the target."""
    flow = StandardNormal((2,)).double()

    def far(x):
        return TRUTH.log_prob(x - 2.0) + 1.7

    plain = importance_sample(flow, far, 4000, generator=generator()).evidence()
    found = anneal(
        flow,
        far,
        4000,
        temperatures=40,
        step_size=step_size,
        leapfrog=leapfrog,
        generator=generator(),
    )
    told = found.evidence()
    assert abs(told.log_z - 1.7) < 3 * told.error
    assert told.error < 0.5 * plain.error
    assert told.ess > 2 * plain.ess
    assert found.accepted.shape == (40,)
    assert (found.accepted > 0.5).all()


def test_annealed_weights_are_unbiased_whatever_the_moves():
    """Three temperatures, steps far too long: imprecise, and still right on average."""
    flow = StandardNormal((2,)).double()
    found = anneal(
        flow, gaussian, 100_000, temperatures=3, step_size=1.5, leapfrog=2, generator=generator()
    )
    weights = (found.log_weights - 1.7).exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / math.sqrt(len(weights)) < 0.1


def test_nothing_is_recorded_for_the_parameters_in_the_block_and_it_is_undone():
    layer = nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    x = torch.randn(1, 2, requires_grad=True)
    with without_parameters(layer):
        y = layer(x)
    assert layer.weight.requires_grad
    assert not layer.bias.requires_grad
    y.sum().backward()
    assert layer.weight.grad is None
    assert x.grad is not None


def test_layers_that_start_from_data_start_from_draws_of_the_base():
    class Start(Linear):
        def initialize_inverse(self, z, context=None):
            self.seen = len(z)
            return super().initialize_inverse(z, context)

    model = VariationalFlow(DataSpec((2,)), bijector=Start)
    model.initialize(Batch(torch.zeros(7, 2)), draws=generator())
    assert model.density.bijector.seen == 7


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\] .* got 1.5"),
        ({"particles": 0}, "particles be at least 1, got 1.0 and 0"),
        ({"gradient": "score"}, "gradient must be path or total, got 'score'"),
        ({"base": Gaussian}, "base without parameters, .* the base Gaussian"),
        ({"target": "bananas"}, "target must be one of banana, two_modes, funnel, got 'bananas'"),
    ],
)
def test_bad_options_are_refused(options, words):
    with pytest.raises(UsageError, match=words):
        VariationalFlow(DataSpec((2,)), bijector=Linear, **options)


def test_a_target_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"event shape \(2,\) of the target 'banana', got \(3,\)"):
        VariationalFlow(DataSpec((3,)), bijector=Linear)


@pytest.mark.parametrize("options", [{"temperatures": 0}, {"leapfrog": 0}, {"step_size": 0.0}])
def test_bad_annealing_is_refused(options):
    with pytest.raises(UsageError, match="temperatures and leapfrog must be at least 1"):
        anneal(StandardNormal((2,)), partial(torch.sum, dim=1), 2, **options)
