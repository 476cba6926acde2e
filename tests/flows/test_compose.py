"""Chain, Repeat, Inverse and Linear keep the promises of a bijector."""

from functools import partial

import pytest
import torch

from corekit.data_spec import Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Chain, Inverse, Repeat
from corekit.flows.linear import Linear
from corekit.interfaces.bijector import Bijector, no_logdet
from corekit.interfaces.likelihood import Likelihood


class Shift(Bijector):
    """Adds its context; changes the shape of nothing."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape, self.context_shape = event_shape, context_shape

    def _forward(self, x, context):
        return x + context, no_logdet(x)

    def _inverse(self, z, context):
        return z - context, no_logdet(z)


class Flatten(Bijector):
    """Changes the shape, to test that it is threaded through."""

    def __init__(self, event_shape, context_shape=None):
        super().__init__()
        self.event_shape = event_shape

    @property
    def latent_shape(self):
        return (torch.Size(self.event_shape).numel(),)

    def _forward(self, x, context):
        return x.flatten(1), no_logdet(x)

    def _inverse(self, z, context):
        return z.reshape(-1, *self.event_shape), no_logdet(z)


class Sigmoid(Shift):
    """Lives on another support."""

    codomain = Support.UNIT_INTERVAL


def random(bijector, seed=0):
    torch.manual_seed(seed)
    for parameter in bijector.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return bijector.double()


BIJECTORS = {
    "linear": lambda: Linear((3,)),
    "linear without bias": lambda: Linear((4,), bias=False),
    "chain": lambda: Chain((3,), of=[Linear, partial(Linear, bias=False)]),
    "repeat": lambda: Repeat((3,), times=3, of=Linear),
    "repeat of two": lambda: Repeat((3,), times=2, of=[Linear, partial(Linear, bias=False)]),
    "inverse": lambda: Inverse((3,), of=Linear),
    "inverse of a chain": lambda: Inverse((3,), of=partial(Chain, of=[Linear, Linear])),
}


@pytest.mark.parametrize("make", BIJECTORS.values(), ids=BIJECTORS)
def test_inverse_and_log_determinant(make):
    bijector = random(make())
    x = torch.randn(4, *bijector.event_shape, dtype=torch.float64)
    z, logdet = bijector(x)
    back, inverse_logdet = bijector.inverse(z)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(inverse_logdet, -logdet, rtol=0, atol=1e-10)
    jacobians = torch.stack(
        [torch.autograd.functional.jacobian(lambda r: bijector(r[None])[0][0], row) for row in x]
    )
    torch.testing.assert_close(logdet, torch.linalg.slogdet(jacobians)[1], rtol=0, atol=1e-9)
    assert logdet.shape == (4,)
    assert torch.equal(bijector.logdet(x), logdet)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_log_determinants_are_never_in_half_precision(dtype):
    bijector = Repeat((3,), times=2, of=Linear).to(dtype)
    z, logdet = bijector(torch.randn(2, 3, dtype=dtype))
    assert z.dtype == dtype
    assert logdet.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_log_determinant_under_autocast():
    bijector = Repeat((3,), times=2, of=Linear)
    x = torch.randn(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logdet = bijector(x)[1]
    assert logdet.dtype == torch.float32
    torch.testing.assert_close(logdet, bijector(x)[1], rtol=0, atol=1e-6)


def test_an_empty_batch_passes():
    z, logdet = Repeat((3,), times=2, of=Linear)(torch.empty(0, 3))
    assert z.shape == (0, 3)
    assert logdet.shape == (0,)


def test_repeat_has_weights_of_its_own_each_time():
    bijector = Repeat((3,), times=3, of=Linear)
    assert len(bijector) == 3
    assert len({id(m.weight) for m in bijector}) == 3
    with pytest.raises(UsageError, match="got a built Bijector"):
        Repeat((3,), times=2, of=Linear((3,)))
    with pytest.raises(UsageError, match="times must be at least 1, got 0"):
        Repeat((3,), times=0, of=Linear)


def test_context_goes_to_those_who_take_it():
    chain = Chain((3,), (3,), of=[Linear, Shift, Linear])
    assert chain.context_shape == (3,)
    x, context = torch.randn(2, 3), torch.randn(2, 3)
    z, _ = chain(x, context)
    torch.testing.assert_close(chain.inverse(z, context)[0], x)
    assert Chain((3,), (3,), of=[Linear]).context_shape is None
    with pytest.raises(ShapeError, match="needs a context, got None"):
        chain(x)
    with pytest.raises(ShapeError, match="takes no context"):
        Chain((3,), of=[Linear])(x, context)
    with pytest.raises(ShapeError, match=r"must have 2 rows.*got 1"):
        chain(x, context[:1])


def test_shapes_are_threaded_and_checked():
    chain = Chain((2, 3), of=[Flatten, Linear])
    assert chain.latent_shape == (6,)
    assert chain(torch.randn(5, 2, 3))[0].shape == (5, 6)
    with pytest.raises(ShapeError, match=r"must have shape \(batch, 2, 3\), got \(5, 6\)"):
        chain(torch.randn(5, 6))
    with pytest.raises(ShapeError, match=r"must be \(6,\) here, got \(3,\)"):
        Chain((2, 3), of=[Flatten, Linear((3,))])
    with pytest.raises(UsageError, match="got none"):
        Chain((3,), of=[])


def test_inverse_of_a_bijector_that_changes_the_shape():
    inverse = Inverse((6,), of=Flatten((2, 3)))
    assert inverse.latent_shape == (2, 3)
    assert inverse(torch.randn(4, 6))[0].shape == (4, 2, 3)
    with pytest.raises(ShapeError, match=r"must make the shape \(2, 3\)"):
        Inverse((2, 3), of=Flatten)


def test_supports_must_meet():
    with pytest.raises(
        ShapeError, match=r"must live where member 0 ends \(unit_interval\), got real"
    ):
        Chain((3,), (3,), of=[Sigmoid, Linear])


def test_slices_are_chains():
    chain = Chain((3,), of=[Linear, Linear, Linear])
    x = torch.randn(2, 3)
    torch.testing.assert_close(chain[1:](chain[0](x)[0])[0], chain(x)[0])
    assert isinstance(chain[:2], Chain)


def test_a_chain_is_as_good_as_its_weakest_member():
    bound = Linear((3,))
    bound.logdet_kind = Likelihood.UNBIASED
    assert Chain((3,), of=[Linear, bound]).logdet_kind is Likelihood.UNBIASED


def test_linear_wants_an_axis_of_features():
    with pytest.raises(ShapeError, match=r"must have an axis of features, got \(\)"):
        Linear(())


def test_input_is_not_changed():
    bijector = Repeat((3,), times=2, of=Linear)
    x = torch.randn(2, 3)
    before = x.clone()
    bijector(x), bijector.inverse(x)
    assert torch.equal(x, before)
