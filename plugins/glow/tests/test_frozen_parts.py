"""What layers keep while their weights are frozen is what they compute from them."""

from functools import partial

import pytest
import torch
from corekit_glow.convolution import NormedConv, ZeroConv
from corekit_glow.coupling import GlowCoupling
from corekit_glow.invertible_conv import invertible_conv
from corekit_glow.step import FlowStep

from corekit.flows.linear import Linear
from corekit.interfaces.frozen import frozen
from corekit.testing.case import redraw

STEP = partial(FlowStep, (6, 4, 4), coupling=partial(GlowCoupling, hidden=4))
KEEPING = {
    "normed": lambda: NormedConv(3, 4, 3, norm=True, edge=True),
    "zero": lambda: ZeroConv(3, 4, edge=True),
    **{
        form: partial(STEP, mixing=partial(invertible_conv, form=form))
        for form in ("lu", "plain", "qr", "orthogonal")
    },
    "biased": partial(STEP, mixing=Linear),
}


@pytest.mark.parametrize("name", list(KEEPING))
def test_each_tensor_that_changes_alone_is_noticed(name):
    part = KEEPING[name]().double()
    redraw(part)
    x = torch.randn(16, *((6, 4, 4) if isinstance(part, FlowStep) else (3, 8, 8))).double()
    ways = (part, part.inverse) if isinstance(part, FlowStep) else (lambda x: (part(x),),)
    with frozen(part), torch.no_grad():
        for way in ways:
            for key, parameter in part.named_parameters():
                before = way(x)
                parameter.add_(0.3 * torch.randn_like(parameter))
                found = way(x)
                with torch.enable_grad():  # here nothing is kept
                    for one, other in zip(found, way(x), strict=True):
                        torch.testing.assert_close(one, other, msg=f"{name}: {key}")
                assert not torch.equal(found[0], before[0]), key


def test_an_order_of_rows_that_is_loaded_alone_is_noticed():
    """A buffer: the permutation of the LU factors."""
    step = KEEPING["lu"]().double()
    redraw(step)
    x = torch.randn(2, 6, 4, 4).double()
    with frozen(step), torch.no_grad():
        step(x), step.inverse(x)
        step[1].permutation.copy_(step[1].permutation.roll(1))
        found, back = step(x)[0], step.inverse(x)[0]
        with torch.enable_grad():
            torch.testing.assert_close(found, step(x)[0])
            torch.testing.assert_close(back, step.inverse(x)[0])


def test_what_is_kept_for_one_dtype_is_not_given_to_another():
    step, x = KEEPING["lu"](), torch.randn(2, 6, 4, 4)
    redraw(step)
    with frozen(step), torch.no_grad():
        for way in (step, step.inverse):
            way(x)
            found, logdet = way(x.double())
            with torch.enable_grad():
                want, want_logdet = way(x.double())
            torch.testing.assert_close(found, want, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(logdet, want_logdet, rtol=1e-12, atol=1e-12)


def test_the_inverse_of_a_folded_matrix_is_solved_in_float64():
    """In float32 the error of a matrix of condition 1e5 would be a hundredth."""
    step = STEP(mixing=partial(invertible_conv, form="plain"))
    u, v = (torch.linalg.qr(torch.randn(6, 6).double())[0] for _ in range(2))
    with torch.no_grad():
        step[1].weight.copy_(u @ torch.logspace(0, -5, 6).double().diag() @ v)
    exact = torch.linalg.inv(step[1].weight.double())
    z = torch.randn(1, 6, 4, 4)
    y, _ = step[2].inverse(z)
    want = torch.einsum("ij,bjhw->bihw", exact, y.double())
    error = (step.inverse(z)[0] - want).abs().max() / want.abs().max()
    assert error < 1e-6
