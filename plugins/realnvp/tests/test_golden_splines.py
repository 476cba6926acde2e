"""Rational-quadratic splines in the parametrisations of nflows, zuko and distrax."""

import math
from functools import partial

import pytest
import torch
from corekit_realnvp.splines import RationalQuadratic

EXACT = {"rtol": 1e-9, "atol": 1e-9}
BY_NAME = {
    "nflows_lin": partial(RationalQuadratic, bound=3.0, identity=False),
    "zuko": partial(RationalQuadratic, bound=5.0, parameters="softclip"),
    "nflows_unit": partial(RationalQuadratic, tails="none", identity=False),
    "circular": partial(RationalQuadratic, bound=math.pi, tails="circular", identity=False),
    "distrax": partial(RationalQuadratic, tails="none", min_bin=1e-4, min_slope=1e-4),
}
CASES = [(name, bins) for name in ("nflows_lin", "zuko") for bins in (1, 4, 8)]
CASES += [(name, bins) for name in ("nflows_unit", "circular", "distrax") for bins in (4, 8)]


def parameters(arrays, name, bins):
    free = name in ("nflows_lin", "zuko")
    prefix = f"K{bins}" if free else f"unit_K{bins}"
    slopes = arrays[f"{prefix}_d"]
    slopes = slopes[:, :bins] if name == "circular" else slopes
    return torch.cat((arrays[f"{prefix}_w"], arrays[f"{prefix}_h"], slopes), dim=1)[:, :, None]


@pytest.fixture
def case(golden, request):
    name, bins = request.param
    arrays = golden("rqs")
    get = {key: arrays[f"{name}_K{bins}_{key}"] for key in KEYS}
    spline = BY_NAME[name](bins)
    params = parameters(arrays, name, bins)
    x = get["x"]
    # On a circle we go on turn after turn; the file has the identity outside.
    inside = x.abs() < math.pi if name == "circular" else torch.ones_like(x, dtype=torch.bool)
    rows = params.shape[0]
    x = x[inside].expand(rows, -1)
    want = {key: get[key][:, inside] for key in KEYS if key != "x"}
    return spline, x, params.expand(-1, -1, x.shape[1]), want


KEYS = ("x", "y", "logdet", "inv_of_x", "inv_logdet")


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_the_spline_of_a_library(case):
    spline, x, params, want = case
    big = {"rtol": 1e-8, "atol": 1e-8}
    for row, tolerance in [*((i, EXACT) for i in range(len(x) - 1)), (len(x) - 1, big)]:
        given = x[row : row + 1], params[row : row + 1]
        y, logdet = spline.forward(*given)
        torch.testing.assert_close(y[0], want["y"][row], **tolerance)
        torch.testing.assert_close(logdet[0], want["logdet"][row], **tolerance)
        back, inverse_logdet = spline.inverse(*given)
        torch.testing.assert_close(back[0], want["inv_of_x"][row], **tolerance)
        torch.testing.assert_close(inverse_logdet[0], want["inv_logdet"][row], **tolerance)


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_in_single_precision(case):
    spline, x, params, want = case
    y, logdet = spline.forward(x.float(), params.float())
    torch.testing.assert_close(y.double(), want["y"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logdet[:-1].double(), want["logdet"][:-1], rtol=1e-3, atol=1e-3)


def test_identity_of_nflows_master_is_not_copied(golden):
    """Its boundary slope is 1.295 with zero parameters; ours is 1, and zeros are the identity."""
    arrays = golden("rqs")
    assert arrays["nflows_ident_K8_knots_d"][0, 0].item() == pytest.approx(1.2950, abs=1e-4)
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)[None]
    zeros = torch.zeros(1, RationalQuadratic(8).parameters, 101, dtype=torch.float64)
    z, log_slope = RationalQuadratic(8, 3.0).forward(x, zeros)
    torch.testing.assert_close(z, x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(log_slope, torch.zeros_like(x), rtol=0, atol=1e-12)
