"""AffineCoupling: every promise of a bijector, for vectors and channels, odd and even."""

import copy
from functools import partial

import pytest
import torch
from corekit_realnvp.coupling import AffineCoupling
from corekit_realnvp.specs import AffineCouplingSpec

from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Repeat

EVENTS = [(2,), (5,), (7,), (8,), (2, 3, 4), (3, 2, 5)]


def random(layer, seed=0):
    """Weights far from the identity: an identity layer hides every sign error."""
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.double()


@pytest.fixture(params=EVENTS, ids=str)
def event(request):
    return request.param


@pytest.fixture(params=["exp", "sigmoid2"])
def scale(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["", "swap"])
def swap(request):
    return request.param


@pytest.fixture(params=[None, (3,)], ids=["no context", "context"])
def context_shape(request):
    return request.param


@pytest.fixture
def case(event, scale, swap, context_shape):
    """A layer, its input, and its context."""
    layer = random(AffineCoupling(event, context_shape, hidden=6, scale=scale, swap=swap))
    x = torch.randn(4, *event, dtype=torch.float64)
    return layer, x, None if context_shape is None else torch.randn(4, 3, dtype=torch.float64)


def test_inverse_undoes_forward(case):
    layer, x, context = case
    z, logdet = layer(x, context)
    back, inverse_logdet = layer.inverse(z, context)
    torch.testing.assert_close(back, x, rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse_logdet, -logdet, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        layer(layer.inverse(x, context)[0], context)[0], x, rtol=0, atol=1e-10
    )


def test_log_determinant_equals_the_autograd_jacobian(case):
    layer, x, context = case

    def flat(row, i):
        given = None if context is None else context[i : i + 1]
        return layer(row.reshape(1, *layer.event_shape), given)[0].reshape(-1)

    jacobians = torch.stack(
        [
            torch.autograd.functional.jacobian(partial(flat, i=i), row.reshape(-1))
            for i, row in enumerate(x)
        ]
    )
    want = torch.linalg.slogdet(jacobians)[1]
    torch.testing.assert_close(layer.logdet(x, context), want, rtol=0, atol=1e-10)


def test_one_half_is_kept_and_rows_do_not_mix(case, swap):
    layer, x, context = case
    z, logdet = layer(x, context)
    first = (x.shape[1] + 1) // 2
    kept = slice(first, None) if swap else slice(0, first)
    assert torch.equal(z[:, kept], x[:, kept])
    one, one_logdet = layer(x[:1], None if context is None else context[:1])
    torch.testing.assert_close(z[:1], one)
    torch.testing.assert_close(logdet[:1], one_logdet)


def test_gradients_equal_finite_differences(case):
    layer, x, context = case
    before = x.clone()

    def loss():
        z, logdet = layer(x, context)
        return z.sin().sum() + logdet.sum()

    parameters = list(layer.parameters())
    gradients = torch.autograd.grad(loss(), parameters)
    directions = [torch.randn_like(p) for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
    with torch.no_grad():
        values = []
        for step in (1e-6, -2e-6):
            for p, d in zip(parameters, directions, strict=True):
                p.add_(d, alpha=step)
            values.append(loss())
    torch.testing.assert_close(slope, (values[0] - values[1]) / 2e-6, rtol=1e-5, atol=1e-6)
    assert torch.equal(x, before)


def test_context_matters():
    layer = random(AffineCoupling((4,), (3,), hidden=6))
    x = torch.randn(2, 4, dtype=torch.float64)
    one, two = (layer(x, torch.full((2, 3), v, dtype=torch.float64))[0] for v in (0.0, 1.0))
    assert not torch.allclose(one, two)


@pytest.mark.parametrize("event_shape", [(5,), (3, 2, 2)])
def test_a_new_layer_is_the_identity(event_shape):
    x = torch.randn(2, *event_shape)
    z, logdet = AffineCoupling(event_shape)(x)
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(2))


def test_log_scale_stays_within_its_bound():
    layer = AffineCoupling((2,), max_log_scale=0.5)
    torch.nn.init.constant_(layer.conditioner[-1].bias, 1e3)
    torch.testing.assert_close(layer(torch.zeros(1, 2))[1], torch.tensor([0.5]))


def test_sigmoid2_only_contracts():
    layer = random(AffineCoupling((6,), hidden=8, scale="sigmoid2"))
    assert (layer(torch.randn(100, 6, dtype=torch.float64))[1] < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dtypes_and_autocast(dtype):
    layer = random(AffineCoupling((5,), hidden=6)).float()
    x = torch.randn(3, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        z, logdet = layer(x)
        back, _ = layer.inverse(z)
    assert logdet.dtype == torch.float32
    torch.testing.assert_close(back, x, rtol=0, atol=1e-5 if dtype == torch.float32 else 0.1)


def test_half_precision_module_keeps_its_log_determinant_wide():
    layer = AffineCoupling((5,), hidden=6).bfloat16()
    z, logdet = layer(torch.randn(3, 5).bfloat16())
    assert (z.dtype, logdet.dtype) == (torch.bfloat16, torch.float32)
    layer = random(AffineCoupling((40,), hidden=6, max_log_scale=3.0)).bfloat16()
    x = torch.randn(8, 40).bfloat16()
    raw = layer.conditioner(x[:, :20])[:, :20].float()
    exact = (3 * torch.tanh(raw / 3)).sum(1)  # summed in half precision it is off by 1e-2
    torch.testing.assert_close(layer(x)[1], exact, rtol=0, atol=1e-5)


def test_an_empty_batch_a_copy_and_a_state_dict():
    layer = random(AffineCoupling((5,), hidden=6))
    assert layer(torch.empty(0, 5, dtype=torch.float64))[1].shape == (0,)
    x = torch.randn(2, 5, dtype=torch.float64)
    fresh = AffineCoupling((5,), hidden=6).double()
    fresh.load_state_dict(layer.state_dict())
    for other in (copy.deepcopy(layer), fresh):
        assert torch.equal(other(x)[0], layer(x)[0])


@pytest.mark.parametrize("features", [2, 7])
def test_a_deep_chain_of_any_width_is_invertible(features):
    flow = random(
        Repeat(
            (features,),
            times=7,
            of=[partial(AffineCoupling, hidden=8), partial(AffineCoupling, hidden=8, swap=True)],
        )
    )
    x = torch.randn(3, features, dtype=torch.float64)
    torch.testing.assert_close(flow.inverse(flow(x)[0])[0], x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("event_shape", [(1,), (1, 4, 4), (4, 4), ()])
def test_what_cannot_be_split_is_refused(event_shape):
    with pytest.raises(ShapeError, match="at least 2 features or channels"):
        AffineCoupling(event_shape)
    with pytest.raises(ShapeError, match="at least 2 features or channels"):
        AffineCouplingSpec().shape(event_shape)


def test_bad_arguments_are_refused():
    with pytest.raises(UsageError, match="got 'tanh'"):
        AffineCoupling((4,), scale="tanh")
    with pytest.raises(UsageError, match=r"must be positive, got -1\.0"):
        AffineCoupling((4,), max_log_scale=-1.0)
    with pytest.raises(ShapeError, match=r"context_shape must be \(features,\), got \(2, 2\)"):
        AffineCoupling((4,), (2, 2))
    with pytest.raises(ShapeError, match=r"got \(3, 5\)"):
        AffineCoupling((4,))(torch.zeros(3, 5))
