"""Fixed functions against numbers of many digits, far into both tails."""

import math

import pytest
import torch

from corekit.data_spec import Support
from corekit.errors import ShapeError, UsageError
from corekit.flows.compose import Chain
from corekit.flows.pointwise import Exp, LeakyRelu, Logit, Sigmoid, Softplus, Tanh

FUNCTIONS = {
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softplus": Softplus,
    "leaky_relu_0p1": lambda shape: LeakyRelu(shape, slope=0.1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_slopes_from_minus_to_plus_a_thousand(golden, name):
    arrays = golden("elementwise")
    x = arrays["x"][:, None]
    z, logdet = FUNCTIONS[name]((1,))(x)
    torch.testing.assert_close(z[:, 0], arrays[name], rtol=1e-14, atol=1e-60)
    torch.testing.assert_close(logdet, arrays[f"{name}_logdet"], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_slopes_in_single_precision(golden, name):
    arrays = golden("elementwise")
    layer = FUNCTIONS[name]((1,))
    x = arrays["x"].float()[:, None].requires_grad_()
    z, logdet = layer(x)
    assert logdet.dtype is torch.float32
    want = arrays[f"{name}_logdet"].float()
    torch.testing.assert_close(logdet, want, rtol=1e-6, atol=2e-7)
    assert torch.autograd.grad((z + logdet[:, None]).sum(), x)[0].isfinite().all()


def test_tanh_is_not_flat_at_ten():
    """1 - tanh(10)^2 rounds to 0 in float32; the log of the slope is -18.61."""
    assert Tanh((1,))(torch.tensor([[10.0]]))[1].item() == pytest.approx(-18.6137, abs=1e-4)


def test_softplus_has_no_threshold():
    """torch's own is x itself beyond 20, which is wrong by 2e-9 there."""
    x = torch.tensor([[21.0, 25.0, 30.0]], dtype=torch.float64)
    more = Softplus((3,))(x)[0] - x
    torch.testing.assert_close(more, torch.log1p(torch.exp(-x)), rtol=0, atol=4e-15)


def test_leaky_relu_counts_in_the_precision_of_its_input():
    x = -torch.ones(1, 1000, dtype=torch.float64)
    logdet = LeakyRelu((1000,), slope=0.1)(x)[1]
    assert logdet.dtype is torch.float64
    assert logdet.item() == pytest.approx(1000 * math.log(0.1), rel=1e-15)


@pytest.mark.parametrize(
    ("key", "options"),
    [
        ("two_sided", {}),
        ("one_sided", {"sides": "lower"}),
        ("tiny", {"alpha": 1e-6}),
    ],
)
@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_logit_as_images_are_prepared(golden, bits, key, options):
    arrays = golden("dequant")
    x = arrays[f"b{bits}_x"]
    layer = Logit(x.shape[1:], **options)
    y, logdet = layer(x)
    torch.testing.assert_close(y, arrays[f"b{bits}_{key}_y"], rtol=1e-10, atol=1e-12)
    want = arrays[f"b{bits}_{key}_logdet"] - arrays[f"b{bits}_ld_scale"]
    torch.testing.assert_close(logdet, want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(layer.inverse(y)[0], x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize(
    ("layer", "ends"),
    [(Sigmoid((3,)), (0, 1)), (Tanh((3,)), (-1, 1)), (Softplus((3,)), (0,)), (Exp((3,)), (0,))],
)
def test_the_ends_of_the_codomain_have_finite_inverses(layer, ends, dtype):
    for end in ends:
        x, logdet = layer.inverse(torch.full((1, 3), float(end), dtype=dtype))
        assert x.isfinite().all()
        assert logdet.isfinite().all()
        assert x.dtype is dtype
    outside = layer.inverse(torch.full((1, 3), -1.5, dtype=dtype))[0]
    assert outside.isnan().all()  # not clipped: it would be a wrong number


def test_supports_are_declared_and_meet():
    assert (Exp.codomain, Softplus.codomain) == (Support.POSITIVE, Support.POSITIVE)
    assert (Logit.domain, Tanh.codomain) == (Support.UNIT_INTERVAL, Support.SYMMETRIC_INTERVAL)
    x = torch.randn(2, 3, dtype=torch.float64)
    chain = Chain((3,), of=[Sigmoid, lambda **given: Logit(**given, alpha=0.0)])
    z, logdet = chain(x)
    torch.testing.assert_close(z, x)
    torch.testing.assert_close(logdet, torch.zeros(2).double(), rtol=0, atol=1e-12)
    with pytest.raises(ShapeError, match=r"ends \(symmetric_interval\), got unit_interval"):
        Chain((3,), of=[Tanh, Logit])


def test_bad_options_are_refused():
    with pytest.raises(UsageError, match=r"alpha must lie in \[0, 0\.5\), got 0\.5"):
        Logit((1,), alpha=0.5)
    with pytest.raises(UsageError, match="both or lower, got 'upper'"):
        Logit((1,), sides="upper")
    with pytest.raises(UsageError, match="slope must be positive, got 0"):
        LeakyRelu((1,), slope=0)
