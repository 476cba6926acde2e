"""Flows among torch's distributions and transforms, both ways."""

from functools import partial

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal, TransformedDistribution
from torch.distributions import transforms as tt

from corekit.data_spec import Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.bases import Gaussian
from corekit.flows.compose import Chain
from corekit.flows.coupling import Coupling
from corekit.flows.linear import Linear
from corekit.flows.prior import FlowPrior
from corekit.flows.torch_distributions import FlowDistribution
from corekit.flows.torch_transforms import BijectorTransform, FromTransform
from corekit.interfaces.likelihood import Likelihood
from corekit.interfaces.records import Condition
from corekit.testing import Conformance, check_component
from corekit.testing.case import redraw

TRANSFORMS = {
    "exp": tt.ExpTransform(),
    "sigmoid of affine": tt.ComposeTransform(
        [tt.AffineTransform(0.3, -1.7), tt.SigmoidTransform()]
    ),
    "logit": tt.SigmoidTransform().inv,
    "softplus": tt.SoftplusTransform(),
    "reshape": tt.ComposeTransform(
        [
            tt.ReshapeTransform((4,), (2, 2)),
            tt.IndependentTransform(tt.AffineTransform(1.0, 3.0), 2),
        ]
    ),
}


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_keeps_the_promises_of_a_bijector(name):
    results = check_component(
        "bijector",
        partial(FromTransform, transform=TRANSFORMS[name]),
        how=Conformance(given=({"event_shape": (4,), "context_shape": None},)),
    )
    wrong = {r.check: r.detail for r in results if not r.ok}
    assert not wrong
    assert len(results) > 15


def conditional():
    torch.manual_seed(0)
    members = [Linear, Coupling, partial(Coupling, swap=True)]
    flow = FlowPrior((3,), {"vector": (2,)}, bijector=partial(Chain, of=members)).double()
    redraw(flow)
    return flow


def test_a_linear_flow_is_torchs_normal():
    torch.manual_seed(0)
    flow = FlowPrior((2,), bijector=Linear).double()
    redraw(flow)
    layer = flow.bijector
    inverse = torch.linalg.inv(layer.weight.detach())
    truth = MultivariateNormal(-inverse @ layer.bias.detach(), inverse @ inverse.T)
    got = FlowDistribution(flow)
    assert (got.batch_shape, got.event_shape) == ((), (2,))
    x = truth.sample((5, 4))
    torch.testing.assert_close(got.log_prob(x), truth.log_prob(x))
    torch.testing.assert_close(got.log_prob(x[0, 0]), truth.log_prob(x[0, 0]))
    many = got.sample((40_000,))
    assert (many.mean(0) - truth.mean).abs().max() < 0.05
    assert got.sample().shape == (2,)
    as_transform = TransformedDistribution(
        Independent(Normal(torch.zeros(2).double(), 1.0), 1), [BijectorTransform(layer).inv]
    )
    torch.testing.assert_close(as_transform.log_prob(x), truth.log_prob(x))


def test_a_context_makes_a_batch_and_every_event_gets_its_own():
    flow, context = conditional(), torch.randn(4, 2).double()
    got = FlowDistribution(flow, context)
    assert (got.batch_shape, got.event_shape) == ((4,), (3,))
    x = got.sample((5,))
    assert x.shape == (5, 4, 3)
    assert not x.requires_grad
    log_p = got.log_prob(x)
    for i in range(5):
        want = flow.log_prob(x[i], Condition(context)).value
        torch.testing.assert_close(log_p[i], want)
    one = got.log_prob(x[0, 0])  # one event under every context
    torch.testing.assert_close(one, flow.log_prob(x[0, 0].expand(4, 3), Condition(context)).value)
    larger = got.expand((6, 4))
    assert larger.sample((2,)).shape == (2, 6, 4, 3)
    torch.testing.assert_close(larger.log_prob(x[0]), log_p[0].expand(6, 4))


def test_samples_with_gradients_reach_the_weights_and_the_context():
    context = torch.randn(4, 2).double().requires_grad_()
    got = FlowDistribution(conditional(), context)
    assert got.has_rsample
    torch.manual_seed(3)
    x = got.rsample((2,))
    torch.manual_seed(3)
    assert torch.equal(got.sample((2,)), x.detach())
    x.sum().backward()
    assert context.grad.abs().sum() > 0
    assert all(p.grad is not None for p in got.density.parameters())


def test_a_learned_base_has_no_gradients_through_samples():
    got = FlowDistribution(FlowPrior((2,), bijector=Linear, base=Gaussian))
    assert not got.has_rsample
    with pytest.raises(UsageError, match="base has no parameters"):
        got.rsample()


def test_a_bijector_as_a_transform_goes_there_and_back_under_any_leading_axes():
    torch.manual_seed(0)
    layer = Coupling((3,), (2,)).double()
    redraw(layer)
    context = torch.randn(4, 2).double()
    transform = BijectorTransform(layer, context)
    x = torch.randn(5, 4, 3).double()
    z = transform(x)
    torch.testing.assert_close(transform.inv(z), x)
    want, logdet = layer(x[2], context)
    torch.testing.assert_close(z[2], want)
    torch.testing.assert_close(transform.log_abs_det_jacobian(x, z)[2], logdet)
    assert transform.domain.event_dim == transform.codomain.event_dim == 1


def test_a_transform_and_back_is_the_same_bijector():
    torch.manual_seed(0)
    layer = Coupling((4,)).double()
    redraw(layer)
    again = FromTransform((4,), transform=BijectorTransform(layer))
    x = torch.randn(3, 4).double()
    torch.testing.assert_close(again(x), layer(x))
    assert again.domain is Support.REAL


def test_supports_are_those_of_the_constraints():
    exp = FromTransform((2,), transform=TRANSFORMS["exp"])
    logit = FromTransform((2,), transform=TRANSFORMS["logit"])
    assert (exp.domain, exp.codomain) == (Support.REAL, Support.POSITIVE)
    assert (logit.domain, logit.codomain) == (Support.UNIT_INTERVAL, Support.REAL)
    flow = FlowDistribution(FlowPrior((2,), bijector=logit), validate_args=True)
    assert flow.support.base_constraint is torch.distributions.constraints.unit_interval
    with pytest.raises(ValueError, match="to be within the support"):
        flow.log_prob(torch.tensor([0.5, 1.5]))


def estimate():
    layer = Linear((2,))
    layer.logdet_kind = Likelihood.UNBIASED
    return layer


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: FlowDistribution(FlowPrior((2,), bijector=estimate())),
            UsageError,
            "must be exact .* got kind 'unbiased'",
        ),
        (lambda: FlowDistribution(conditional()), ShapeError, "needs a context, got None"),
        (
            lambda: FlowDistribution(conditional(), torch.zeros(4, 3)),
            ShapeError,
            r"\(\*batch, 2\), got \(4, 3\)",
        ),
        (
            lambda: FlowDistribution(FlowPrior((2,), bijector=Linear)).expand((3,)),
            UsageError,
            "only one with a context",
        ),
        (lambda: BijectorTransform(estimate()), UsageError, "exact log-determinant"),
        (
            lambda: BijectorTransform(Linear((2,)), torch.zeros(3, 2)),
            ShapeError,
            "takes no context",
        ),
        (
            lambda: FromTransform((2,), transform=tt.AbsTransform()),
            UsageError,
            "must be one to one, got AbsTransform",
        ),
        (
            lambda: FromTransform((2,), transform=tt.StickBreakingTransform()),
            (UsageError, ShapeError),
            "StickBreakingTransform must",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
