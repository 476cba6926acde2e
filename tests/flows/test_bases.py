"""Base densities against torch's distributions, and what they promise at their edges."""

import math
from functools import partial

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from corekit.build import build
from corekit.data_spec import DataSpec
from corekit.errors import ShapeError, UsageError
from corekit.flows.affine import Affine
from corekit.flows.bases import Gaussian, Logistic, Mixture, Uniform
from corekit.flows.elementwise import Elementwise
from corekit.flows.linear import Linear
from corekit.flows.model import FlowModel
from corekit.flows.prior import FlowPrior
from corekit.interfaces.records import Batch, Condition
from corekit.testing import parametrize_checks


@parametrize_checks("prior", "uniform")
def test_promises_of_uniform(check):
    check()


@parametrize_checks("prior", "logistic")
def test_promises_of_logistic(check):
    check()


@parametrize_checks("prior", "gaussian")
def test_promises_of_gaussian(check):
    check()


@parametrize_checks("prior", "mixture")
def test_promises_of_mixture(check):
    check()


def test_the_uniform_density_is_one_on_the_closed_interval():
    """torch's Uniform gives -inf at 1, where a distribution function in float32 ends."""
    x = torch.tensor([[0.0, 1.0], [0.5, 0.25], [-1e-6, 0.5], [0.5, 1.0001]])
    want = torch.tensor([0.0, 0.0, -math.inf, -math.inf])
    assert torch.equal(Uniform((2,)).log_prob(x).value, want)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_uniform_samples_have_finite_quantiles(dtype):
    u = Uniform((1000,)).to(dtype).sample(1000, generator=torch.Generator().manual_seed(0))
    assert u.dtype is dtype
    assert torch.logit(u.double()).isfinite().all()


def test_a_hot_uniform_is_refused_and_a_cold_one_shrinks_to_the_middle():
    base = Uniform((2000,))
    u = base.sample(2, temperature=0.5, generator=torch.Generator().manual_seed(0))
    assert 0.25 <= u.min() < 0.26
    assert 0.74 < u.max() <= 0.75
    with pytest.raises(UsageError, match=r"temperature must lie in \[0, 1\], got 2"):
        base.sample(2, temperature=2.0)


def test_the_logistic_density_is_exact_far_out_in_float32():
    x = torch.tensor([[-80.0], [0.0], [80.0]])
    want = torch.tensor([-80.0, -2 * math.log(2), -80.0])
    torch.testing.assert_close(Logistic((1,)).log_prob(x).value, want)


def test_logistic_samples_are_logits_of_uniform_numbers():
    x = Logistic((50_000,)).double().sample(1, generator=torch.Generator().manual_seed(0))[0]
    probabilities = torch.sigmoid(x).sort().values
    even = (torch.arange(50_000, dtype=torch.float64) + 0.5) / 50_000
    assert (probabilities - even).abs().max() < 1.95 / math.sqrt(50_000)  # Kolmogorov, 0.001


def test_a_gaussian_is_torchs():
    base = Gaussian((2, 3)).double()
    torch.nn.init.normal_(base.start)
    mean, log_scale = base.start.detach()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    want = Independent(Normal(mean, log_scale.exp()), 2).log_prob(x)
    torch.testing.assert_close(base.log_prob(x).value, want)
    fixed = Gaussian((3,), {"vector": (2,)}, mean=1.0, scale=2.0, learn=False)
    assert not list(fixed.parameters())
    assert not fixed.condition_shapes
    torch.testing.assert_close(
        fixed.log_prob(x[:, 0].float()).value,
        Normal(1.0, 2.0).log_prob(x[:, 0].float()).sum(1),
    )


def test_a_mixture_is_torchs():
    torch.manual_seed(0)
    base = Mixture((3,), components=4).double()
    torch.nn.init.normal_(base.start)
    start = base.start.detach()
    parts = Independent(Normal(start[:, :3], start[:, 3:6].exp()), 1)
    want = MixtureSameFamily(Categorical(logits=start[:, 6]), parts)
    x = torch.randn(7, 3, dtype=torch.float64)
    torch.testing.assert_close(base.log_prob(x).value, want.log_prob(x))


def test_a_conditional_base_under_an_unconditional_map():
    """z = e^s x + t with a base of mean mu(c): the density of x is a Gaussian for every c."""
    torch.manual_seed(0)
    linear = partial(
        lambda event_shape, context_shape: Elementwise(event_shape, univariate=Affine())
    )
    prior = FlowPrior((3,), {"vector": (2,)}, bijector=linear, base=Gaussian).double()
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert prior.condition_shapes == {"vector": (2,)}
    c = torch.randn(5, 2, dtype=torch.float64)
    x = torch.randn(5, 3, dtype=torch.float64)
    scale = (2 * torch.tanh(prior.bijector.params[0] / 2)).exp()
    mean, log_scale = (prior.base.start + prior.base.net(c)).unbind(1)
    want = Normal((mean - prior.bijector.params[1]) / scale, log_scale.exp() / scale)
    got = prior.log_prob(x, Condition(c)).value
    torch.testing.assert_close(got, want.log_prob(x).sum(1))
    torch.testing.assert_close(prior.loss(x, Condition(c)).total, -got)
    cold = prior.sample(condition=Condition(c), temperature=0.0)
    torch.testing.assert_close(cold, want.mean.detach())


def test_the_vector_goes_to_map_and_base_of_a_flow_model():
    data = DataSpec((3,), condition_shapes={"vector": (2,)})
    model = {"type": "flow", "bijector": "coupling", "base": "gaussian"}
    flow = build({"version": 1, "model": model, "data": "toy2d"}, data=data)
    batch = Batch(torch.randn(4, 3), Condition(torch.randn(4, 2)))
    flow(batch).total.sum().backward()
    assert all(p.grad is not None for p in flow.parameters())
    assert isinstance(flow, FlowModel)


def test_a_base_with_a_start_of_its_own_starts_from_latents():
    class Start(Linear):
        def initialize(self, x, context=None):
            self.seen = x.clone()
            return super().initialize(x, context)

    inner = partial(FlowPrior, bijector=Start)
    prior = FlowPrior((2,), bijector=Linear, base=inner)
    x = torch.randn(6, 2)
    prior.initialize(x)
    torch.testing.assert_close(prior.base.bijector.seen, prior.bijector(x)[0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(Gaussian, (2,), scale=0.0), "scale must be positive, got 0.0"),
        (partial(Mixture, (2,), components=0), "components must be at least 1, got 0"),
        (partial(Mixture, (2,), family="gamma"), "family must be normal or logistic, got 'gamma'"),
    ],
)
def test_bad_options_are_refused(make, words):
    with pytest.raises(UsageError, match=words):
        make()


def test_a_base_on_another_support_is_refused():
    with pytest.raises(ShapeError, match=r"where the bijector ends \(real\), got unit_interval"):
        FlowPrior((2,), bijector=Linear, base=Uniform)
