"""AffineCoupling keeps every promise of a bijector, and its own."""

from functools import partial

import pytest
import torch
from corekit_realnvp.coupling import AffineCoupling
from corekit_realnvp.specs import AffineCouplingSpec

from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Repeat
from corekit.testing import Conformance, parametrize_checks

FEW = Conformance(given=[{"event_shape": shape} for shape in ((2,), (8,), (2, 3, 4))])


@parametrize_checks("bijector", "realnvp.affine_coupling")
def test_promises(check):
    check()


@parametrize_checks("bijector", partial(AffineCoupling, hidden=6), how=FEW)
def test_promises_for_two_and_for_even_numbers_of_features(check):
    check()


def random(layer, seed=0):
    """Weights far from the identity: an identity layer hides every sign error."""
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return layer.double()


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("event_shape", [(5,), (2, 3, 4), (3, 2, 5)])
def test_one_half_is_kept(event_shape, swap):
    layer = random(AffineCoupling(event_shape, hidden=6, swap=swap))
    x = torch.randn(4, *event_shape, dtype=torch.float64)
    first = (event_shape[0] + 1) // 2
    kept = slice(first, None) if swap else slice(0, first)
    z = layer(x)[0]
    assert torch.equal(z[:, kept], x[:, kept])
    assert not torch.isclose(z, x).all()


@pytest.mark.parametrize("event_shape", [(5,), (3, 2, 2)])
def test_a_new_layer_is_the_identity(event_shape):
    x = torch.randn(2, *event_shape)
    z, logdet = AffineCoupling(event_shape)(x)
    assert torch.equal(z, x)
    assert torch.equal(logdet, torch.zeros(2))


def test_log_scale_stays_within_its_bound():
    layer = AffineCoupling((2,), max_log_scale=0.5)
    torch.nn.init.constant_(layer.net.layers[-1].bias, 1e3)
    torch.testing.assert_close(layer(torch.zeros(1, 2))[1], torch.tensor([0.5]))


def test_sigmoid2_only_contracts():
    layer = random(AffineCoupling((6,), hidden=8, scale="sigmoid2"))
    assert (layer(torch.randn(100, 6, dtype=torch.float64))[1] < 0).all()


def test_half_precision_module_keeps_its_log_determinant_wide():
    layer = AffineCoupling((5,), hidden=6).bfloat16()
    z, logdet = layer(torch.randn(3, 5).bfloat16())
    assert (z.dtype, logdet.dtype) == (torch.bfloat16, torch.float32)
    layer = random(AffineCoupling((40,), hidden=6, max_log_scale=3.0)).bfloat16()
    x = torch.randn(8, 40).bfloat16()
    raw = layer.net(x[:, :20])[:, 0].float()
    exact = (3 * torch.tanh(raw / 3)).sum(1)  # summed in half precision it is off by 1e-2
    torch.testing.assert_close(layer(x)[1], exact, rtol=0, atol=1e-5)


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


@pytest.mark.parametrize("event_shape", [(1,), (1, 4, 4), (1, 4), ()])
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
    with pytest.raises(ShapeError, match=r"got \(3, 5\)"):
        AffineCoupling((4,))(torch.zeros(3, 5))
