"""LU and Householder maps against golden matrices."""

import pytest
import torch

from corekit.errors import ShapeError, UsageError
from corekit.flows.householder import Householder
from corekit.flows.lu_linear import LuLinear
from corekit.interfaces.frozen import frozen

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def lu(event_shape, weight, bias=None):
    layer = LuLinear(event_shape).double()
    layer.set_matrix(weight, bias)
    return layer


def expect_map(layer, x, y, logdet=None):
    z, found = layer(x)
    torch.testing.assert_close(z, y, **EXACT)
    if logdet is not None:
        torch.testing.assert_close(found, logdet, **EXACT)
    torch.testing.assert_close(layer.inverse(y)[0], x, **EXACT)


def test_a_dense_matrix_by_its_factors(golden):
    arrays = golden("linear")
    layer = lu((6,), arrays["A"])
    torch.testing.assert_close(layer.matrix(), arrays["A"], **EXACT)
    expect_map(layer, arrays["x"], arrays["dense_y"], arrays["dense_logdet"])


def test_the_lu_form_of_zuko(golden):
    """L with a diagonal of its own, U with a diagonal of ones."""
    arrays = golden("linear")
    lower, upper = arrays["LU"].tril(), arrays["LU"].triu(1) + torch.eye(6).double()
    expect_map(lu((6,), lower @ upper), arrays["x"], arrays["zuko_lu_y"], arrays["zuko_lu_logdet"])


def test_the_lu_form_of_nflows(golden):
    arrays = golden("linear")
    layer = lu((6,), arrays["nflows_L"] @ arrays["nflows_U"], arrays["bias"])
    expect_map(layer, arrays["x"], arrays["nflows_lu_y"], arrays["nflows_lu_logdet"])


def test_over_channels_it_is_a_convolution_of_one_pixel(golden):
    arrays = golden("linear")
    layer = lu((4, 3, 5), arrays["conv_W"])
    expect_map(layer, arrays["conv_x"], arrays["conv_y"], arrays["conv_logdet"])


def test_reflections_are_multiplied_from_the_left(golden):
    arrays = golden("linear")
    layer = Householder((6,), reflections=3).double()
    layer.load_state_dict({"vectors": arrays["house_v"]})
    torch.testing.assert_close(layer.matrix(), arrays["house_Q"], **EXACT)
    expect_map(layer, arrays["x"], arrays["house_y"], torch.zeros(5).double())


def test_only_the_entries_that_are_needed_are_parameters():
    layer = LuLinear((5,), bias=False)
    assert sum(p.numel() for p in layer.parameters()) == 25
    kept = set(layer.state_dict())
    assert kept == {"lower", "upper", "log_diagonal", "permutation", "sign"}


def test_it_starts_as_a_rotation_or_as_the_identity():
    matrix = LuLinear((6,)).matrix()
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), rtol=0, atol=1e-5)
    assert matrix.sub(torch.eye(6)).abs().max() > 0.1
    assert torch.equal(LuLinear((6,), start="identity").matrix(), torch.eye(6))


@pytest.mark.parametrize("make", [LuLinear, Householder])
@pytest.mark.parametrize("shape", [(5,), (4, 3, 3)])
@torch.no_grad()
def test_frozen_it_is_the_same_and_multiplies_once(make, shape):
    layer, x = make(shape).double(), torch.randn(3, *shape, dtype=torch.float64)
    want = layer(x)[0], layer.inverse(x)[0]
    with frozen(layer):
        for _ in range(2):
            assert torch.equal(layer(x)[0], want[0])
            assert torch.equal(layer.inverse(x)[0], want[1])
        kept = dict(layer._kept)
        layer(x), layer.inverse(x)
        assert all(layer._kept[name] is value for name, value in kept.items())
        assert kept
        next(layer.parameters()).mul_(1.1)
        changed = layer(x)[0]
    assert torch.equal(changed, layer(x)[0])


def test_what_is_no_invertible_matrix_is_refused():
    with pytest.raises(UsageError, match="must be invertible, got a singular one"):
        LuLinear((2,)).set_matrix(torch.ones(2, 2))
    with pytest.raises(ShapeError, match=r"must have shape \(2, 2\), got \(3, 3\)"):
        LuLinear((2,)).set_matrix(torch.eye(3))
    with pytest.raises(UsageError, match="only of a layer that has one"):
        LuLinear((2,), bias=False).set_matrix(torch.eye(2), torch.ones(2))
    with pytest.raises(UsageError, match="rotation or identity, got 'zeros'"):
        LuLinear((2,), start="zeros")
    with pytest.raises(UsageError, match="at least 1, got 0"):
        Householder((2,), reflections=0)
